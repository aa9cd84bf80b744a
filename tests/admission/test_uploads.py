"""Uploads: what they hold, how fast they must be, and which gives way to whom."""

from collections import Counter
from contextlib import ExitStack

import pytest

from app.admission.control import Admission
from app.admission.requests import RequestLimit
from app.admission.uploads import Uploads
from app.errors import TooManyRequests, UploadNotStored, UploadStalled
from app.metrics import Metrics
from tests.waiting import Clock

IDLE = 60.0
MB = 10**6


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def uploads(clock):
    return Uploads(100 * MB, clock)


def trickled(uploads, clock, size, rate, every=5.0):
    """Whether an upload of so many bytes, at so many a second, comes to its end."""
    with uploads.receiving("a") as one:
        while one.received < size:
            clock.now += every
            one.add(round(rate * every))
            try:
                one.check_rate(IDLE)
            except UploadStalled:
                return False
    return True


@pytest.mark.parametrize("rate", [30_000, 100_000])
def test_a_slow_but_honest_connection_brings_the_largest_file_of_openais(uploads, clock, rate):
    assert trickled(uploads, clock, 25 * MB, rate)


def test_a_clip_may_come_at_the_rate_of_a_modem(uploads, clock):
    assert trickled(uploads, clock, MB, 3_000)


def test_no_upload_goes_on_for_days(uploads, clock):
    assert not trickled(uploads, clock, 100 * MB, 2_400)
    assert clock.now < 1200


def test_an_upload_that_stops_is_over(uploads, clock):
    with uploads.receiving("a") as one:
        clock.now += IDLE + 1
        with pytest.raises(UploadStalled):
            one.check_rate(IDLE)


def test_what_all_uploads_hold_is_bounded_until_they_are_gone(uploads):
    with uploads.receiving("a") as one, uploads.receiving("b") as two:
        one.add(60 * MB)
        two.expect(40 * MB)
        with pytest.raises(UploadNotStored, match="MAX_STORED_UPLOAD_BYTES") as caught:
            two.expect(40 * MB + 1)
        assert caught.value.retry_after
        two.add(40 * MB)
        with pytest.raises(UploadNotStored):
            two.add(1)
    with uploads.receiving("c") as three:
        three.add(100 * MB)


def test_the_slowest_gives_way_to_who_has_fewer_places(uploads, clock):
    with ExitStack() as stack:
        first, second = (stack.enter_context(uploads.receiving("a")) for _ in range(2))
        clock.now += 10
        first.add(100_000)
        assert uploads.make_room("b", Counter(a=2))
        assert (first.gave_way, second.gave_way, uploads.leaving) == (False, True, 1)
        with pytest.raises(UploadStalled, match="others wait"):
            second.check_rate(IDLE)
        assert uploads.make_room("b", Counter(a=3))
        assert not uploads.make_room("b", Counter(a=4))  # both go already
    assert uploads.leaving == 0


@pytest.mark.parametrize("places", [Counter(a=1), Counter(a=2, b=1), Counter(a=9, b=9)])
def test_none_gives_way_to_who_has_as_many(uploads, places):
    with uploads.receiving("a"):
        assert not uploads.make_room("b", places)


def test_neither_a_fast_one_nor_one_that_is_there_gives_way(uploads, clock):
    with uploads.receiving("a") as fast, uploads.receiving("a") as there:
        clock.now += 10
        fast.add(200_000)
        there.complete = True
        assert not uploads.make_room("b", Counter(a=9))


def test_places_that_slow_uploads_hold_are_had_by_who_has_none():
    """Two clients hold them all; each newcomer gets one, and nobody else does."""
    metrics = Metrics()
    limit = RequestLimit(8, metrics)
    one = Admission(limit, 1000.0, metrics.of("mine"))
    with ExitStack() as stack:
        for client in "aaaabbbb":
            stack.enter_context(one.place(client))
            stack.enter_context(limit.uploads.receiving(client))
        with pytest.raises(TooManyRequests):
            stack.enter_context(one.place("a"))
        for newcomer in "cdef":
            stack.enter_context(one.place(newcomer))
        assert limit.uploads.leaving == 4
        with pytest.raises(TooManyRequests):
            stack.enter_context(one.place("c"))
