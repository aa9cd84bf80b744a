"""A long recording begins before its end is known, and nobody is told of what is refused."""

import asyncio
from functools import partial

import pytest

from app.admission.control import Admission
from app.admission.requests import RequestLimit
from app.audio.waveform import SAMPLE_RATE
from app.errors import DeadlineExceeded, EngineDied, QueueFull
from app.metrics import Metrics
from app.speech.windows import Window
from app.transcription.pipeline import transcribe
from app.transcription.planning import Plan
from app.transcription.queued import QueuedTranscription
from app.transcription.results import Options
from tests.sound import silence
from tests.transcription.fakes import FakeDecoder, loaded, sentence
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio

LENGTH = 25  # seconds of each window


class House:
    """An engine of eight windows, and who comes in."""

    def __init__(self, answer=sentence, most_seconds=10_000.0, most_held=10_000.0):
        metrics = Metrics()
        self.limit = RequestLimit(9, metrics, most_held_seconds=most_held)
        self.admission = Admission(self.limit, most_seconds, metrics.of("mine"))
        self.admission.resize(8)
        self.decoder = FakeDecoder(answer)
        self.plan = Plan(30, is_searched=True)
        self.queued = self.recording("a")

    def recording(self, client):
        heard = partial(transcribe, loaded(self.decoder), options=Options())
        return QueuedTranscription(
            self.admission, client, "1", lambda plans, slot: heard(planned=plans[0], slot=slot)
        )

    def found(self, windows):
        """So many windows more are found, as the recording is decoded."""
        for _ in range(windows):
            at = len(self.plan.windows) * LENGTH * SAMPLE_RATE
            self.plan.add(Window.of(at, (1000 * silence(LENGTH)).astype("int16")))
            self.queued.look(self.plan)

    def told(self, until=None):
        self.plan.complete(sum(one.duration_ms for one in self.plan.windows) / 1000)
        return self.queued.events([self.plan], until)


@pytest.fixture
def house():
    return House()


async def text_of(events):
    *_, transcript = [event async for event in events]
    return transcript.text


async def test_a_long_recording_begins_before_its_end_is_known(house):
    house.found(4)
    await turns()
    assert not house.decoder.asks
    house.found(3)
    await until(lambda: len(house.decoder.asks) == 7)
    house.found(2)
    await until(lambda: len(house.decoder.asks) == 9)
    events = house.told()
    assert await anext(events) is None
    assert await text_of(events) == " ".join(f"w{10 + n}" for n in range(9))
    assert len(house.decoder.asks) == 9


async def test_one_that_began_early_says_what_it_would_have_said(house):
    late = House()
    house.found(7)
    await until(lambda: len(house.decoder.asks) == 7)
    late.plan = house.plan
    early_events = [event async for event in house.told()]
    late_events = [event async for event in late.queued.events([late.plan], None)]
    assert early_events == late_events


async def test_a_short_one_waits_for_its_end(house):
    house.found(4)
    events = house.told()
    assert await anext(events) is None
    assert not house.decoder.asks
    assert await text_of(events) == "w10 w11 w12 w13"


async def test_nobody_begins_early_while_others_wait(house):
    with house.admission.queued("b", "1", 1000) as slot:

        async def hold():
            async with slot(LENGTH):
                await asyncio.sleep(60)

        waiting = [asyncio.create_task(hold()) for _ in range(12)]
        await turns()
        house.found(7)
        await turns()
        assert not house.decoder.asks
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await turns()
        house.found(1)  # nobody waits any more
        await until(lambda: house.decoder.asks)
    await house.queued.stop()


async def test_what_is_given_up_leaves_nothing_in_flight():
    house = House(lambda _: sentence(0), most_seconds=1000)
    house.decoder.delays = [60] * 9
    house.found(7)
    await until(lambda: house.decoder.in_flight == 7)
    await house.queued.stop()
    assert house.decoder.in_flight == 0
    assert house.admission._queued == {}
    assert house.admission._slots.running == 0


async def test_what_is_refused_though_it_began_leaves_nothing_in_flight():
    house = House(most_held=1000)
    house.decoder.delays = [60] * 9
    house.found(7)
    await until(lambda: house.decoder.in_flight == 7)
    with house.limit.held_audio.hold("b", 900), pytest.raises(QueueFull):
        await anext(house.told())
    assert house.decoder.in_flight == 0
    assert house.admission._queued == {}
    assert not house.limit.held_audio._held


async def test_a_client_that_cannot_wait_is_told_though_its_recording_began(house):
    house.decoder.delays = [60] * 20
    house.found(7)
    await until(lambda: house.decoder.in_flight == 7)
    house.admission.throughput._full._audio = house.admission.throughput._full._time = 100.0
    house.admission.throughput._full._windows = 9
    house.found(9)
    with pytest.raises(DeadlineExceeded):
        await anext(house.told(until=asyncio.get_running_loop().time()))
    assert house.decoder.in_flight == 0


async def test_what_has_run_already_does_not_count_as_waiting(house):
    house.found(7)
    await until(lambda: len(house.decoder.asks) == 7)
    await until(lambda: not house.admission._slots.running)
    assert house.admission._all_queued() == 0
    house.found(1)
    house.plan.complete(200)
    events = house.queued.events([house.plan], None)
    assert await anext(events) is None
    assert house.admission._all_queued() <= LENGTH
    await events.aclose()


async def test_what_failed_before_the_recording_is_let_in_is_done_again():
    house = House(lambda n: EngineDied("gone") if n == 2 else sentence(n))
    house.found(7)
    await until(lambda: len(house.decoder.asks) > 2)
    await turns()
    events = house.told()
    assert await anext(events) is None
    assert len((await text_of(events)).split()) == 7
    assert house.decoder.in_flight == 0


async def test_the_engines_death_is_told_once_the_recording_is_let_in():
    house = House(lambda n: EngineDied("gone") if n >= 2 else sentence(n))
    house.found(7)
    await until(lambda: len(house.decoder.asks) > 2)
    events = house.told()
    assert await anext(events) is None
    with pytest.raises(EngineDied):
        await text_of(events)
    assert house.decoder.in_flight == 0
