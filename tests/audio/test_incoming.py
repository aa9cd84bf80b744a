"""Samples are read while a child still writes them."""

import os
import threading

import numpy as np
import pytest

from app.audio import handover
from app.audio.incoming import NoMoreComes, Whole, followed
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def room():
    with handover.room(1) as room:
        yield room


class Reader:
    """Reads what comes, in a thread."""

    def __init__(self):
        self.read, self.ended = [], None

    def follow(self, incoming):
        self.incoming = incoming
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while self.incoming.more():
                self.read.append(self.incoming.pcm[: self.incoming.count].tolist())
            self.ended = "all"
        except NoMoreComes:
            self.ended = "given up"


@pytest.fixture
def reader():
    return Reader()


def write(room, *samples):
    """As a child does, which has the descriptor too."""
    os.write(room, np.array(samples, np.int16).tobytes())


async def test_what_is_written_is_read_from_the_beginning_on(room, reader):
    with followed(room, reader.follow) as ended:
        write(room, 1, 2)
        await until(lambda: reader.read == [[1, 2]])
        write(room, 3)
        await until(lambda: reader.read == [[1, 2], [1, 2, 3]])
        ended(3)
    reader.thread.join(5)
    assert (reader.read, reader.ended) == ([[1, 2], [1, 2, 3]], "all")


def test_what_was_written_last_is_read_though_nobody_looked_in_time(room, reader):
    with followed(room, reader.follow) as ended:
        write(room, 1, 2, 3)
        ended(3)
    reader.thread.join(5)
    assert (reader.read[-1], reader.ended) == ([1, 2, 3], "all")


def test_a_recording_of_nothing_has_an_end(room, reader):
    with followed(room, reader.follow) as ended:
        ended(0)
    reader.thread.join(5)
    assert (reader.read, reader.ended) == ([], "all")


def test_no_more_comes_of_one_that_is_given_up(room, reader):
    write(room, 1)
    with followed(room, reader.follow):
        pass  # and nobody says that this was all
    reader.thread.join(5)
    assert reader.ended == "given up"


def test_nothing_is_looked_for_in_a_room_that_is_closed(reader):
    with handover.room(1) as room, followed(room, reader.follow):
        pass
    with handover.room(1) as another:  # which may get the same descriptor
        write(another, 1)
        reader.thread.join(5)
    assert (reader.read, reader.ended) == ([], "given up")


def test_nobody_need_follow(room):
    with followed(room, None) as ended:
        ended(0)


def test_a_recording_that_is_there_comes_at_once():
    whole = Whole(np.arange(5, dtype=np.int16))
    assert (whole.more(), whole.count, whole.more()) == (True, 5, False)
    assert not Whole(np.empty(0, np.int16)).more()
