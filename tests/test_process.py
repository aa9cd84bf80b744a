"""Threads that nothing waits for, and processes that give way."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from app.files import write_json
from app.models.whisper_vllm.plan import memory_of
from app.process import (
    children_in_time,
    counting,
    give_back_freed_memory,
    in_daemon_thread,
    run_shielded,
    set_idle_priority,
)

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

    task = asyncio.create_task(run_shielded(work))
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

    task = asyncio.create_task(run_shielded(work))
    await asyncio.sleep(0.05)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        await run_shielded(work)


async def test_a_child_that_is_not_ready_in_time_is_killed_and_others_are_not():
    spawn = counting(multiprocessing.get_context("spawn"))
    other = spawn.Process(target=time.sleep, args=(60,), daemon=True)
    other.start()
    with children_in_time(0.3):
        late = spawn.Process(target=time.sleep, args=(60,), daemon=True)
        late.start()
        late.join(30)
    assert late.exitcode == -9
    assert other.is_alive()
    other.kill()
    other.join()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
async def test_a_start_that_hangs_does_not_take_what_another_thread_has_started_since(method):
    """A proving engine's, while the serving one is started again."""
    context = counting(multiprocessing.get_context(method))

    def child():
        return context.Process(target=time.sleep, args=(60,), daemon=True)

    def serve():
        with children_in_time(60):
            serving.append(child())
            serving[0].start()

    def hang():
        with children_in_time(1):
            hanging.append(child())
            threads = threading.Thread(target=serve)
            threads.start()
            threads.join()
            hanging[0].start()
            hanging[0].join(30)

    serving, hanging = [], []
    await asyncio.to_thread(hang)
    assert hanging[0].exitcode
    assert serving[0].is_alive()
    serving[0].kill()
    serving[0].join()


async def test_a_child_that_is_ready_in_time_lives_on():
    spawn = counting(multiprocessing.get_context("spawn"))
    with children_in_time(0.5):
        child = spawn.Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
    await asyncio.sleep(1)
    assert child.is_alive()
    child.kill()
    child.join()


def test_a_process_that_gives_way_does_so_with_all_its_threads_and_those_to_come():
    body = (
        "import threading, time\n"
        "sleep = threading.Thread(target=time.sleep, args=(60,), daemon=True).start\n"
        "sleep(); print(flush=True); input()\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(flush=True); input()"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", body]
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) as process:
        process.stdout.readline()
        set_idle_priority(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        threads = [int(thread) for thread in os.listdir(f"/proc/{process.pid}/task")]
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_IDLE}
        assert len(threads) == 3
        process.kill()
    assert os.sched_getscheduler(0) != os.SCHED_IDLE


def test_a_process_that_has_ended_need_not_give_way():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        set_idle_priority(process.pid)


@pytest.mark.parametrize("how", ["fsync", "open", "start"])
async def test_what_keeps_an_event_loop_waiting_is_caught(
    tmp_path, loops_are_not_blocked, how, monkeypatch
):
    """The guard of all other tests, which look for nothing of this in vain."""

    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 1, 2\n")
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    caught = loops_are_not_blocked
    write, ask = partial(write_json, tmp_path / "a.json", {}), partial(memory_of, "cuda")
    work = ask if how == "start" else write
    await in_daemon_thread(work)
    assert caught == []
    asyncio.get_running_loop().call_soon(work)
    await asyncio.sleep(0)
    told = {"fsync": "written through", "open": "is opened", "start": "is started"}[how]
    assert any(told in one for one in caught)
    caught.clear()


GIVING_BACK = """
from app.process import give_back_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [bytearray(2**16) for _ in range(1000)]
last = bytearray(2**16)  # above them: nothing that lies below is given back by itself
held = resident()
blocks.clear()
kept = resident()
give_back_freed_memory()
print(held - kept, kept - resident())
"""


def test_freed_memory_is_given_back():
    give_back_freed_memory()  # nothing of ours is harmed
    run = subprocess.run(
        [sys.executable, "-c", GIVING_BACK], capture_output=True, text=True, check=True
    )
    by_itself, on_request = map(int, run.stdout.split())
    assert by_itself + on_request > 50 * 2**20
    assert on_request > 40 * 2**20
