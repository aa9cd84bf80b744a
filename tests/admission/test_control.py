"""Admission: bounds in requests and in seconds of audio, and how long to stay away."""

import asyncio
from contextlib import ExitStack, suppress
from itertools import count

import pytest

from app.admission.control import Admission
from app.admission.requests import RequestLimit
from app.errors import DeadlineExceeded, QueueFull, TooManyRequests
from app.metrics import Metrics

pytestmark = pytest.mark.anyio


def admission(requests=4, seconds=1000.0):
    metrics = Metrics()
    return Admission(RequestLimit(requests, metrics), seconds, metrics.of("mine"))


async def measured(pace, windows=2):
    """An admission whose engine is full at `pace` seconds of audio a second."""
    one, now = admission(), [0.0]
    one.resize(windows)
    one.throughput._clock = lambda: now[0]
    one.throughput._since = 0.0
    one.throughput.note(running=windows, full=True)
    for _ in range(4):
        now[0] += 30 / pace
        one.throughput.note(running=windows, full=True, audio=30)
    one.throughput.note(running=0, full=False)
    return one


def test_places_are_bounded_and_given_back():
    one = admission(2)
    with one.place("a"), one.place("b"):
        with pytest.raises(TooManyRequests, match="limit of this server") as caught:
            one.place("c").__enter__()
        assert caught.value.retry_after == 1
        assert one.under_way == 2
    assert one.under_way == 0
    with one.place("c"):
        pass


def test_a_client_leaves_a_quarter_of_the_places_to_others():
    one = admission(4)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(one.place("a"))
        with pytest.raises(TooManyRequests, match="of yours"):
            one.place("a").__enter__()
        stack.enter_context(one.place("b"))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_where_there_are_few_places_a_client_may_have_them_all(most):
    one = admission(most)
    with ExitStack() as stack:
        for _ in range(most):
            stack.enter_context(one.place("a"))
        assert one.under_way == most


def test_who_waits_for_a_place_counts_too():
    one = admission(2)
    with one.place("a"), one.waiting("b"):
        with pytest.raises(TooManyRequests):
            one.place("c").__enter__()
        with pytest.raises(TooManyRequests):
            one.waiting("c").__enter__()
        assert (one.under_way, one.waiters) == (1, 1)
    assert one.waiters == 0


def test_kept_work_is_never_refused():
    one = admission(1)
    with one.place("a"), one.reserved("a"):
        assert one.under_way == 2
    assert one.under_way == 0


def test_a_client_that_is_back_has_the_places_that_were_kept_for_it():
    one = admission(4)
    with one.reserved("a"), one.reserved("a"), one.reserved("a"), one.place("b"):
        for client in ("a", "c"):
            with pytest.raises(TooManyRequests):
                one.place(client).__enter__()
        with pytest.raises(TooManyRequests):
            one.place("c", is_retry=True).__enter__()
        with one.place("a", is_retry=True):
            pass


async def test_another_engine_has_a_throughput_of_its_own():
    one = await measured(pace=10)
    assert one.throughput.known
    one.resize(2)
    assert one.throughput.known is None


async def test_it_tells_when_nothing_is_under_way():
    one = admission()
    assert await one.drained(0)
    place = one.place("a")
    place.__enter__()
    assert not await one.drained(0.01)
    waiting = asyncio.create_task(one.drained(60))
    await asyncio.sleep(0)
    place.__exit__(None, None, None)
    assert await waiting


def test_audio_that_waits_is_bounded():
    one = admission(seconds=100)
    with one.queued("a", "1", 70), one.queued("b", "2", 30):
        with pytest.raises(QueueFull, match="100 s of audio wait") as caught:
            one.queued("c", "3", 5).__enter__()
        assert caught.value.retry_after == 5  # at a second a second, until it is measured
    with one.queued("c", "3", 5):
        pass


def test_a_client_leaves_a_quarter_of_the_queue_to_others():
    one = admission(seconds=100)
    with one.queued("a", "1", 70):
        with pytest.raises(QueueFull, match="of yours"):
            one.queued("a", "2", 10).__enter__()
        with one.queued("b", "3", 10):
            pass


def test_one_recording_is_never_too_long_for_an_empty_line():
    with admission(seconds=100).queued("a", "1", 5000):
        pass


async def test_what_has_its_turn_waits_no_longer():
    one = admission(seconds=100)
    one.resize(1)
    with one.queued("a", "1", 60) as slot:
        async with slot(30), slot(30):
            with one.queued("b", "2", 100):
                pass
    assert b'marlinscribe_audio_queued_seconds{model="mine"} 0.0' in one._metrics.whole.exposition()


def test_audio_is_shown_to_wait_from_when_it_comes_until_it_is_gone():
    one = admission(seconds=100)

    def shown():
        lines = one._metrics.whole.exposition().decode().splitlines()
        names = ("marlinscribe_requests_queued{", "marlinscribe_audio_queued_seconds{")
        return sorted(float(line.split()[-1]) for line in lines if line.startswith(names))

    with one.queued("a", "1", 60):
        assert shown() == [1, 60]
    with one.arriving("a", "2") as arrival:
        arrival.add(30)
        assert shown() == [1, 30]
        arrival.admit(70)
        assert shown() == [1, 70]
    assert shown() == [0, 0]


async def test_the_wait_is_told_by_the_measured_pace():
    one = await measured(pace=10)
    one._most_seconds = 100
    with one.queued("a", "1", 70), one.queued("b", "2", 30), pytest.raises(QueueFull) as caught:
        one.queued("c", "3", 50).__enter__()
    assert caught.value.retry_after == 5


async def test_the_wait_is_never_told_longer_than_clients_obey():
    one = await measured(pace=0.01)
    with one.queued("a", "1", 750), pytest.raises(QueueFull) as caught:
        one.queued("a", "2", 100).__enter__()
    assert caught.value.retry_after == 60


async def test_who_has_its_own_share_waits_for_it_beside_the_others():
    one = await measured(pace=10)
    with ExitStack() as stack:
        stack.enter_context(one.queued("a", "1", 740))
        for name in ("b", "c", "d"):
            stack.enter_context(one.queued(name, "1", 20))
        with pytest.raises(QueueFull, match="of yours") as caught:
            one.queued("a", "2", 60).__enter__()
    assert caught.value.retry_after == 50 / 10 * 4


async def test_requests_that_wait_are_counted():
    one = admission()
    one.resize(1)
    with one.queued("a", "1", 30) as slot, one.queued("a", "2", 30), one.queued("b", "1", 30):
        async with slot(30):
            assert (
                b'marlinscribe_requests_queued{model="mine"} 2.0' in one._metrics.whole.exposition()
            )
    assert b'marlinscribe_requests_queued{model="mine"} 0.0' in one._metrics.whole.exposition()
    assert b"marlinscribe_requests_limit 4.0" in one._metrics.whole.exposition()


async def test_a_client_whose_patience_is_too_short_is_told_so_at_once():
    one = await measured(pace=10)
    with pytest.raises(DeadlineExceeded, match="about 30 s") as caught:
        one.queued("a", "1", 300, client_timeout=20).__enter__()
    assert caught.value.never_fits
    assert "timeout" in caught.value.message
    with one.queued("a", "1", 300, client_timeout=31):
        pass


async def test_where_others_are_why_it_is_told_to_come_again():
    one = await measured(pace=10)
    with one.queued("b", "1", 600):
        with pytest.raises(DeadlineExceeded) as caught:
            one.queued("a", "2", 300, client_timeout=35).__enter__()
        assert not caught.value.never_fits
        assert caught.value.retry_after == 25  # 300 of ours and as many of theirs take 60 s


async def test_a_short_recording_waits_for_as_much_of_a_long_one_only():
    one = await measured(pace=10)
    with one.queued("archive", "1", 600):
        assert one.wait_for("phone", 10) == pytest.approx(2)
        assert one.wait_for("archive", 10) == pytest.approx(2)
        with one.queued("phone", "2", 10, client_timeout=3):
            pass


async def test_nobody_is_sent_away_on_a_guess():
    one = admission()
    with one.queued("a", "1", 900, client_timeout=0.1):
        pass


async def test_slots_are_measured_while_they_last():
    one = admission()
    one.resize(1)
    now = [0.0]
    one.throughput._clock = lambda: now[0]
    with one.queued("a", "1", 90) as slot:
        for _ in range(3):
            async with slot(30):
                now[0] += 3
    assert one.throughput.full == pytest.approx(10)


async def test_a_turn_that_fails_did_nothing_and_is_given_back():
    one = admission()
    one.resize(1)
    with one.queued("a", "1", 30) as slot:
        with suppress(ValueError):
            async with slot(30):
                raise ValueError
        assert (one._running, one._slots.running) == (0, 0)
    assert one.throughput.known is None


def test_decoded_audio_counts_until_its_text_is_there_however_much_of_it_was_decoded():
    metrics = Metrics()
    limit = RequestLimit(9, metrics, most_held_seconds=100)
    one = Admission(limit, 1000.0, metrics.of("mine"))
    names = map(str, count())

    async def heard(stack, client, seconds):
        slot = stack.enter_context(one.queued(client, next(names), seconds))
        async with slot(seconds):
            pass  # nothing of it waits any more

    async def story():
        with ExitStack() as stack:
            await heard(stack, "a", 70.5)
            with pytest.raises(QueueFull, match="of audio are in memory, and 100 may") as caught:
                await heard(stack, "b", 30)
            assert caught.value.retry_after
            await heard(stack, "b", 29)
        with ExitStack() as stack:
            await heard(stack, "c", 500)  # a single one is always held
        with ExitStack() as stack:
            await heard(stack, "a", 40)
            with pytest.raises(QueueFull, match="of yours are in memory, and 75 may"):
                await heard(stack, "a", 40)

    asyncio.run(story())
    assert not limit.held_audio._held
