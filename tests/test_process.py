"""Work in threads that nothing waits for."""

import asyncio
import multiprocessing
import threading
import time

import pytest

from app.process import children_in_time, in_daemon_thread, to_its_end

pytestmark = pytest.mark.anyio


async def test_the_result_or_the_error_comes_back():
    assert await in_daemon_thread(lambda a: a + 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 / 0)


async def test_cancelling_does_not_wait_for_the_thread():
    release, ended = threading.Event(), threading.Event()

    def work():
        release.wait(30)
        ended.set()

    task = asyncio.create_task(in_daemon_thread(work))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_work_that_must_be_over_first_delays_its_cancellation():
    release, ended = threading.Event(), threading.Event()

    def work():
        release.wait(30)
        ended.set()

    task = asyncio.create_task(to_its_end(work))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_fails_behind_its_cancellation_is_cancelled_all_the_same():
    release = threading.Event()

    def work():
        release.wait(30)
        raise ZeroDivisionError

    task = asyncio.create_task(to_its_end(work))
    await asyncio.sleep(0.05)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        await to_its_end(work)


async def test_a_child_that_is_not_ready_in_time_is_killed_and_others_are_not():
    spawn = multiprocessing.get_context("spawn")
    other, late = (spawn.Process(target=time.sleep, args=(60,), daemon=True) for _ in range(2))
    other.start()
    with children_in_time(0.3):
        late.start()
        late.join(30)
    assert late.exitcode == -9
    assert other.is_alive()
    other.kill()
    other.join()


async def test_a_child_that_is_ready_in_time_lives_on():
    spawn = multiprocessing.get_context("spawn")
    with children_in_time(0.5):
        child = spawn.Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
    await asyncio.sleep(1)
    assert child.is_alive()
    child.kill()
    child.join()
