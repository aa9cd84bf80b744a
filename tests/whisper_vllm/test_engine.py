"""The service's end of an engine: what it says to the engine's process, and what becomes of those
who wait when that is gone. The process is a real one, without vLLM."""

import asyncio
import os
import signal
import time
import weakref
from contextlib import aclosing
from multiprocessing import get_context

import numpy as np
import pytest

from app.environment import DEMO_MODEL
from app.errors import EngineDied, EngineFailed
from app.metrics import Metrics
from app.models.whisper_vllm import engine as engine_module
from app.models.whisper_vllm.decoder import TokenRequest
from app.models.whisper_vllm.engine import VllmEngine
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.tokens import SpecialTokens
from app.process import counting
from app.speech.windows import Window
from tests.waiting import until
from tests.whisper_vllm import fake_engine

pytestmark = pytest.mark.anyio

TOKENS = SpecialTokens.load(DEMO_MODEL)
PLAN = EnginePlan("cpu", "bfloat16", 2, 1, 1, 0.9, 3000, eager=True, in_eight_bits=True)


@pytest.fixture
def start(monkeypatch):
    """Start an engine that behaves as its name says; all are gone at the end."""
    started = []

    def forked(_, *arguments):
        context = counting(get_context("spawn"))
        return context.Process(target=fake_engine.run, args=arguments)

    def begin(name, metrics=None):
        engine = VllmEngine.start(name, DEMO_MODEL, PLAN, TOKENS, metrics, [(0, 0)])
        started.append(engine)
        return engine

    monkeypatch.setattr("app.models.whisper_vllm.engine_link.forkserver.process", forked)
    monkeypatch.setattr("app.models.whisper_vllm.engine.forkserver.wait_until_ready", lambda: None)
    yield lambda *asked: asyncio.to_thread(begin, *asked)
    for engine in started:
        engine.kill()


def request(seconds=1):
    pcm = np.ones(seconds * 16_000, np.int16)
    return TokenRequest(Window.of(0, pcm), WindowRules(), (TOKENS.start,))


async def steps(engine, asked=None):
    return [step async for step in engine.decode(asked or request())]


async def test_a_window_goes_to_the_engine_and_its_steps_come_back_in_order(start):
    engine = await start("good")
    first, last = await steps(engine, request(seconds=30))
    assert first.first == fake_engine.FIRST
    assert last.sampled[0] == (480_000, -0.1)  # all samples arrived
    assert last.sampled[1] == (TOKENS.max_tokens - 1, -0.2)  # the room behind the prompt
    assert (engine.windows, engine.outputs) == (0, 2)


async def test_a_window_that_has_ended_is_held_by_nobody(start):
    """It is a view of all of its recording's sound."""
    engine = await start("good")
    asked = request()
    sound = weakref.ref(asked.window.pcm)
    await steps(engine, asked)
    del asked
    await until(lambda: sound() is None)


async def test_windows_at_once_do_not_get_in_each_others_way(start):
    engine = await start("good")
    many = await asyncio.gather(*[steps(engine, request(n)) for n in range(1, 9)])
    assert [last.sampled[0][0] for _, last in many] == [n * 16_000 for n in range(1, 9)]


async def test_a_window_that_is_closed_is_aborted_in_the_engine(start):
    engine = await start("endless")
    async with aclosing(engine.decode(request())) as decoding:
        await anext(decoding)
        assert (engine.windows, engine.oldest) == (1, 0)
    assert await engine.call("aborted") == [0]
    assert (engine.windows, engine.oldest) == (0, None)


async def test_a_window_that_has_ended_is_not_aborted(start):
    engine = await start("good")
    await steps(engine)
    assert await engine.call("aborted") == []


async def test_windows_and_calls_of_an_engine_that_is_killed_raise_that_it_died(start):
    engine = await start("endless")
    engine.start_seconds = 7.0
    async with aclosing(engine.decode(request())) as decoding:
        await anext(decoding)
        await asyncio.to_thread(engine.kill)
        with pytest.raises(EngineDied) as died:
            await anext(decoding)
    assert died.value.retry_after == 9  # a start, and a pause before it
    assert not engine.alive
    with pytest.raises(EngineDied):
        await steps(engine)
    with pytest.raises(EngineDied):
        await engine.linear_kernels()


async def test_an_engine_that_ends_by_itself_is_noticed(start):
    engine = await start("endless")
    os.kill(engine._link.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while engine.alive:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_engine_that_is_stopped_by_a_signal_does_not_answer_and_can_be_killed(start):
    engine = await start("good")
    assert await engine.answers(30)
    os.kill(engine._link.process.pid, signal.SIGSTOP)
    assert not await engine.answers(0.2)
    long_ones = [asyncio.ensure_future(steps(engine, request(30))) for _ in range(4)]
    await asyncio.sleep(0.1)  # the loop goes on, though nobody takes what it sends
    await asyncio.to_thread(engine.kill)
    ended = await asyncio.gather(*long_ones, return_exceptions=True)
    assert all(isinstance(one, EngineDied) for one in ended)


async def test_what_the_engine_does_not_take_is_a_defect_and_no_death(start):
    engine = await start("refusing")
    with pytest.raises(RuntimeError, match="too long"):
        await steps(engine)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        await engine.call("fail")
    assert engine.alive


async def test_a_window_that_vllm_gives_up_raises_that_the_engine_died(start):
    with pytest.raises(EngineDied, match="gave the window up"):
        await steps(await start("giving up"))


@pytest.mark.parametrize(
    ("name", "why"), [("broken", "no such weights"), ("dead", "ended with status 0")]
)
async def test_an_engine_that_does_not_start_tells_why(start, name, why):
    with pytest.raises(EngineFailed, match=why):
        await start(name)


async def test_told_to_stop_it_ends_by_itself_and_windows_in_flight_are_told(start):
    engine = await start("endless")
    async with aclosing(engine.decode(request())) as decoding:
        await anext(decoding)
        await asyncio.to_thread(engine.stop)
        with pytest.raises(EngineDied):
            await anext(decoding)
    assert engine._link.process.exitcode == 0
    assert not engine.alive


@pytest.mark.parametrize("name", ["stubborn", "deaf"])
async def test_an_engine_that_does_not_heed_is_killed(start, name, monkeypatch):
    monkeypatch.setattr(engine_module, "_LAST_WAIT", 0.2)
    engine = await start(name)
    await asyncio.to_thread(engine.stop)
    engine._link.process.join(30)
    assert engine._link.process.exitcode == -signal.SIGKILL


async def test_what_is_observed_of_an_engine_reaches_its_models_metrics(start):
    metrics = Metrics()
    await steps(await start("good", metrics.of("demo")))
    told = metrics.exposition().decode()
    assert 'marlinscribe_window_queue_duration_seconds_sum{model="demo"} 0.5' in told
    assert 'marlinscribe_windows_in_flight{model="demo"} 0.0' in told
