"""A recording is planned while it is decoded as it is when it is there."""

import asyncio
import io

import pytest

from app.audio.decode import decode
from app.audio.incoming import NoMoreComes, Whole
from app.audio.recording import RecordingFile
from app.environment import DEMO
from app.settings import Settings
from app.speech.cutting import Cutting
from app.transcription.planning import Planning, plan
from app.transcription.results import Options
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio

CUTTING = Cutting.of(Settings(model="demo"))


@pytest.fixture(scope="module")
def wave():
    with (DEMO / "recordings" / "radio.mp3").open("rb") as file:
        return decode(file, max_seconds=60)


def planning(on_window=lambda _: None, size=2**18, options=None, cutting=CUTTING):
    return Planning.of(
        RecordingFile(io.BytesIO(bytes(size))), options or Options(), cutting, on_window
    )


async def test_a_recording_that_comes_has_the_windows_of_one_that_is_there(wave):
    plans = []
    following = planning(plans.append)
    following.follow(Whole(wave.pcm))
    followed = await following.completed(wave.seconds)
    there = await plan(wave, Options(), CUTTING)
    assert [w.start_ms for w in followed.windows] == [w.start_ms for w in there.windows]
    assert followed.seconds == there.seconds == wave.seconds
    assert plans == [followed] * len(there.windows) != []


async def test_a_recording_that_breaks_off_leaves_no_window_waiting():
    class Broken:
        pcm, count = None, 0

        def more(self):
            raise NoMoreComes

    following = planning()
    following.follow(Broken())
    assert not (await following.completed(1.0)).windows


async def test_a_plan_that_is_given_up_gets_no_more_windows(wave):
    plans, heard = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    class Late(Whole):
        def more(self):
            asyncio.run_coroutine_threadsafe(heard.wait(), loop).result()
            return super().more()

    following = planning(plans.append)
    following.follow(Late(wave.pcm))
    await turns()
    following.give_up()
    heard.set()
    await until(lambda: following._cut.done())
    await asyncio.sleep(0.2)
    assert not plans


@pytest.mark.parametrize(
    "told",
    [
        {"size": 1000},
        {"options": Options(split_channels=True)},
        {"cutting": Cutting.of(Settings(model="demo", vad=False))},
    ],
)
def test_what_is_not_worth_a_thread_is_planned_when_it_is_there(told):
    assert planning(**told) is None
