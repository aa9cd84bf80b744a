"""Retries join the work that their client has left behind."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import openai
import pytest

from app.errors import EngineDied
from app.models.base import Segment
from app.transcription import coalescing
from app.transcription.coalescing import InFlight
from tests.sound import encode, tone
from tests.waiting import until

WAV, OTHER = encode(tone(1)), encode(tone(2))


CLIENTS = []  # of a test


def sdk(url, timeout, retries=2):
    named = {"base_url": f"{url}/v1", "api_key": "none"}
    CLIENTS.append(openai.OpenAI(**named, timeout=timeout, max_retries=retries))
    return CLIENTS[-1]


class Gate:
    """What a transcriber waits for until a test opens it, from another thread."""

    opened = False

    async def wait(self):
        while not self.opened:
            await asyncio.sleep(0.01)


def ask(client, recording=WAV, model="whisper-1", **kwargs):
    return client.audio.transcriptions.create(model=model, file=("a.wav", recording), **kwargs)


def wait_until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.05)
    monkeypatch.setattr(coalescing, "_RETURN_SECONDS", 1.0)
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def test_a_retry_gets_the_answer_that_the_first_try_did_not_wait_for(url, transcriber, context):
    transcriber.texts, transcriber.delay = [" May", "day."], 0.6
    assert ask(sdk(url, timeout=0.8)).text == "Mayday."
    assert len(transcriber.asked) == 1
    assert "marlinscribe_requests_joined_total 1.0" in httpx.get(f"{url}/metrics").text
    wait_until(lambda: not context.state.default.admission.under_way)
    assert not context.transcriptions.in_flight._works


def test_a_retry_of_openais_sdk_for_javascript_joins_as_well(url, transcriber):
    """Which says how long it waits under another name."""
    transcriber.delay = 1.2

    def post(tries, **kwargs):
        headers = {"x-stainless-timeout": "1", "x-stainless-retry-count": str(tries)}
        route = f"{url}/v1/audio/transcriptions"
        return httpx.post(route, files={"file": WAV}, headers=headers, **kwargs)

    with pytest.raises(httpx.ReadTimeout):
        post(0, timeout=1)
    assert post(1).json()["text"] == "Mayday."
    assert len(transcriber.asked) == 1


def test_a_retry_joins_by_the_model_that_serves_not_by_its_name(url, transcriber, context):
    transcriber.gate, again = asyncio.Event(), {"x-stainless-retry-count": "1"}
    with ThreadPoolExecutor() as pool:
        pool.submit(ask, sdk(url, timeout=60))
        wait_until(lambda: transcriber.asked)
        retry = pool.submit(ask, sdk(url, timeout=60), model="mine", extra_headers=again)
        wait_until(lambda: context.metrics.joined._value.get() or len(transcriber.asked) > 1)
        transcriber.gate.set()  # heard at the loop's next turn
        assert retry.result().text == "Mayday."
    assert len(transcriber.asked) == 1


def test_the_work_is_kept_when_it_is_done_before_the_retry_comes(
    url, transcriber, context, monkeypatch
):
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.6)
    transcriber.delay = 0.5
    assert ask(sdk(url, timeout=0.4)).text == "Mayday."
    assert len(transcriber.asked) == 1


def test_a_client_that_does_not_come_back_is_not_waited_for_long(url, transcriber, context):
    transcriber.delay = 30
    with pytest.raises(openai.APITimeoutError):
        ask(sdk(url, timeout=0.3, retries=0))
    assert context.state.default.admission.under_way  # its place is the work's
    wait_until(
        lambda: transcriber.closed and not context.state.default.admission.under_way, seconds=3
    )
    assert not context.transcriptions.in_flight._works


def test_a_client_that_leaves_before_its_timeout_has_changed_its_mind(url, transcriber, context):
    transcriber.delay = 30

    async def leave():
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(client), 0.3)

    asyncio.run(leave())
    wait_until(
        lambda: transcriber.closed and not context.state.default.admission.under_way, seconds=0.9
    )


def test_other_bytes_and_other_options_join_nothing(url, transcriber):
    transcriber.delay = 0.5
    first = threading.Thread(target=ask, args=(sdk(url, timeout=60),))
    first.start()
    wait_until(lambda: transcriber.asked)
    again = {"x-stainless-retry-count": "1"}
    ask(sdk(url, timeout=60), OTHER, extra_headers=again)
    ask(sdk(url, timeout=60), language="zh", extra_headers=again)
    first.join()
    assert len(transcriber.asked) == 3


@pytest.mark.parametrize("settings", [{"api_keys": "one,two"}])
def test_other_clients_join_nothing(url, transcriber):
    transcriber.delay = 0.5
    one = openai.OpenAI(base_url=f"{url}/v1", api_key="one")
    first = threading.Thread(target=ask, args=(one,))
    first.start()
    wait_until(lambda: transcriber.asked)
    two = openai.OpenAI(base_url=f"{url}/v1", api_key="two")
    ask(two, extra_headers={"x-stainless-retry-count": "1"})
    first.join()
    assert len(transcriber.asked) == 2


def test_the_same_bytes_without_a_retry_are_heard_again(url, transcriber):
    transcriber.delay = 0.3
    several = [threading.Thread(target=ask, args=(sdk(url, timeout=60),)) for _ in range(2)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert len(transcriber.asked) == 2


def test_two_retries_may_follow_one_work(url, transcriber, context):
    transcriber.gate = Gate()
    answers = []

    def again(count):
        headers = {"x-stainless-retry-count": count}
        answers.append(ask(sdk(url, timeout=60), extra_headers=headers).text)

    several = [threading.Thread(target=again, args=(count,)) for count in ("0", "1", "2")]
    for one in several:
        one.start()
        wait_until(lambda: transcriber.asked)
    wait_until(lambda: context.metrics.joined._value.get() == 2)
    transcriber.gate.opened = True
    for one in several:
        one.join()
    assert answers == ["Mayday."] * 3
    assert len(transcriber.asked) == 1


def test_a_joined_work_that_fails_fails_for_the_retry_too(url, transcriber):
    transcriber.delay, transcriber.error = 0.6, EngineDied("It stopped.")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(sdk(url, timeout=0.4, retries=1))
    assert caught.value.code == "engine_died"


@pytest.mark.parametrize("settings", [{"max_requests": 1}])
def test_the_only_place_is_the_retrys_own(url, transcriber):
    transcriber.delay = 0.8
    assert ask(sdk(url, timeout=0.5)).text == "Mayday."
    assert len(transcriber.asked) == 1


def test_an_answer_that_came_late_but_came_is_not_kept(url, transcriber, context, monkeypatch):
    monkeypatch.setattr(coalescing, "_RETURN_SECONDS", 30)
    transcriber.delay = 0.95
    assert ask(sdk(url, timeout=1.0, retries=0)).text == "Mayday."
    wait_until(lambda: not context.state.default.admission.under_way, seconds=5)


# The work itself


def segment(number):
    return Segment(number, number, str(number), ())


async def events(*numbers, gate=None, closed=None):
    try:
        for number in numbers:
            yield segment(number)
        if gate:
            await gate.wait()
    finally:
        if closed is not None:
            closed.append(True)


def follow(works, key, work, *, returns=False, places=None):
    @contextmanager
    def place():
        places.append("in")
        yield
        places.append("out")

    return works.follow(key, work, "a", will_return=lambda: returns, place=place)


@pytest.mark.anyio
async def test_who_comes_late_hears_all_of_it():
    works, gate = InFlight(), asyncio.Event()
    work = works.begin("k", events(1, 2, gate=gate))
    first, late = follow(works, "k", work), follow(works, "k", work)
    assert await anext(first) == segment(1)
    assert await anext(first) == segment(2)
    assert await anext(late) == segment(1)
    gate.set()
    assert [one async for one in late] == [segment(2)]
    assert [one async for one in first] == []
    assert works.find("k") is None


@pytest.mark.anyio
async def test_the_work_goes_on_while_anybody_follows():
    works, gate, closed = InFlight(), asyncio.Event(), []
    work = works.begin("k", events(1, gate=gate, closed=closed))
    first, second = follow(works, "k", work), follow(works, "k", work)
    await anext(first)
    await anext(second)
    await first.aclose()
    assert not closed
    assert works.find("k") is work
    await second.aclose()
    assert closed
    assert works.find("k") is None


@pytest.mark.anyio
async def test_work_is_kept_as_long_as_a_retry_is_being_received(monkeypatch):
    monkeypatch.setattr(coalescing, "_RETURN_SECONDS", 0.01)
    works, gate, closed, places = InFlight(), asyncio.Event(), [], []
    work = works.begin("k", events(1, gate=gate, closed=closed))
    first = follow(works, "k", work, returns=True, places=places)
    await anext(first)
    with works.returning("a"):
        await first.aclose()
        await asyncio.sleep(0.1)
        assert works.find("k") is work
        assert places == ["in"]
        again = follow(works, "k", work, places=places)
        assert await anext(again) == segment(1)
    await until(lambda: places == ["in", "out"])
    gate.set()
    assert [one async for one in again] == []
    assert closed
