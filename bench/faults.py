"""Faults, one after the other, upon one real server under load: is every request answered?

The network is cut from the start: the model is a hub's id whose files are in the hub's cache, and
where the hub should be nothing listens. (Two servers before it start without any network at all, in
a namespace of their own.) The engine is killed, then stopped (SIGSTOP). The disk that holds cache
and uploads is filled: a tmpfs in a mount namespace of the server's own or, where that may not be
had, a limit on the size of files. Then ten times the requests that were measured to be its
capacity, for two minutes. Last, SIGTERM. Status 1 if a request was lost, or too little was done
under overload.
"""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench.clients import Clients, Recording, Tally, beside, recordings
from bench.options import parser
from bench.sabotage import full, hub_cache, no_network
from bench.unplugged import SETTINGS
from harness.processes import (
    WITHOUT_NETWORK,
    descendants,
    engine_of,
    may_mount,
    may_unplug,
)
from harness.server import DEMO, Server

KEYS = [f"client-{n}" for n in range(8)]
STALL = 6  # seconds
OVERLOAD_SECONDS, TIMES = 120, 10  # half as long for a capacity, an eighth to warm
KEEPS = 0.95  # of the capacity, as goodput under overload
TMPFS_MB = 256


def main(argv: Sequence[str] | None = None) -> None:
    asked = parser("bench.faults", __doc__, seconds=OVERLOAD_SECONDS).parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder), asked.seconds)
        try:
            story.run()
        finally:
            story.end()
    kept = report(story)
    lost = any(tally.lost for _, tally, _ in story.rows)
    sys.exit(1 if lost or kept < KEEPS else 0)


class Story:
    """rows: a fault, its tally, and the seconds until ready again (a dash where it always was)."""

    def __init__(self, folder: Path, seconds: int) -> None:
        self.rows: list[tuple[str, Tally, str]] = []
        self.capacities: list[float] = []
        self.goodput = 0.0
        self._folder = folder
        self._seconds, self._warm = seconds, seconds / 8
        speech = DEMO / "recordings" / "test"
        self._windows = recordings(speech, 30, 8)
        self._mixed = [*recordings(speech, 10, 8), *recordings(speech, 90, 4)]
        self._large = recordings(speech, 30, 4, wav=True)
        hub_cache(folder / "hub")
        with Server(prefix=no_network(folder), **settings(folder / "seed")):
            pass  # makes its checkpoint
        if may_unplug():
            self._row("no network (a namespace without)", unplugged(folder), None)
        self._mounts = may_mount()
        self._server = self._start()
        self._clients = Clients(self._server.port, KEYS)

    def run(self) -> None:
        ready = self._server.wait_ready()
        asyncio.run(self._clients.learn([*self._mixed, *self._large, *self._windows]))
        self._row("network cut at the start", self._load(5), ready)
        self._under_load("engine killed", lambda: engine_of(self._server).kill())
        self._under_load("engine stopped (SIGSTOP)", lambda: engine_of(self._server).suspend())
        self._fill_the_disk()
        self._overload()
        self._terminate()

    def end(self) -> None:
        self._server.kill()

    def _start(self) -> Server:
        """Its cache and its uploads in `disk`, which is small."""
        disk, seed = self._folder / "disk", self._folder / "seed"
        mount = f"mount -t tmpfs -o size={TMPFS_MB}m none {disk} && " if self._mounts else ""
        disk.mkdir()
        prepare = f'{mount}cp -r {seed}/. {disk} && exec "$@"'
        prefix = ["unshare", "-rm"] if self._mounts else []
        prefix += ["sh", "-c", prepare, "sh", *no_network(self._folder), f"TMPDIR={disk}"]
        return Server(prefix=tuple(prefix), **settings(disk))

    def _load(self, seconds: float) -> Tally:
        tally, end = Tally(), time.monotonic() + seconds
        asyncio.run(self._clients.keep(16, self._mixed, lambda: time.monotonic() > end, tally))
        return tally

    def _under_load(self, fault: str, act: Callable[[], object]) -> None:
        """The load goes on until the server has been ready again for a while."""
        tally, again = Tally(), 0.0

        def strike() -> None:
            nonlocal again
            struck = time.monotonic()
            act()
            self._server.wait_for("restarting", seconds=STALL + 30)
            self._server.wait_for("ready", seconds=120)
            again = time.monotonic() - struck
            time.sleep(5)

        self._during(strike, self._mixed, tally, after=3)
        self._row(fault, tally, again)

    def _during(
        self, act: Callable[[], None], several: list[Recording], tally: Tally, *, after: float
    ) -> None:
        over = False

        def then_stop() -> None:
            nonlocal over
            try:
                act()
            finally:
                over = True

        load: Awaitable[None] = self._clients.keep(16, several, lambda: over, tally)
        asyncio.run(beside(load, after=after, act=then_stop))

    def _fill_the_disk(self) -> None:
        """Uploads above 1 MB wait on disk, which every other one here is."""
        tally, again = Tally(), 0.0
        several = [one for pair in zip(self._mixed, self._large, strict=False) for one in pair]

        def fill_and_free() -> None:
            nonlocal again
            free = full(self._server, self._folder / "disk", self._mounts)
            time.sleep(10)
            free()
            again = time.monotonic()
            while self._clients.once(self._large[0]).ok == 0:
                assert time.monotonic() < again + 60, "the disk is free, and nothing is stored"
            again = time.monotonic() - again

        self._during(fill_and_free, several, tally, after=3)
        how = f"disk full (tmpfs of {TMPFS_MB} MB)" if self._mounts else "files limited to 0 bytes"
        self._row(how, tally, again)

    def _overload(self) -> None:
        """Between two measurements of the capacity, as the machine's own speed drifts. Clients
        elsewhere would take nothing of its processors: these get only what is idle."""
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        self._measure_capacity()
        rate = TIMES * self.capacities[0] / self._windows[0].seconds
        tally, begun = Tally(), time.monotonic()
        asyncio.run(self._clients.rain(rate, self._seconds, self._windows, tally))
        self.goodput = tally.audio_a_second(begun + self._warm, begun + self._seconds)
        self._row(f"{TIMES} times the capacity ({rate:.1f} requests/s)", tally, None)
        self._measure_capacity()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def _measure_capacity(self) -> None:
        """Seconds of audio a second. Each request is one window, so that what is done is counted
        as it is done."""
        tally, begun = Tally(), time.monotonic() + self._warm
        end = begun + self._seconds / 2
        over = lambda: time.monotonic() > end  # noqa: E731
        asyncio.run(self._clients.keep(24, self._windows, over, tally))
        self._row("none: capacity is measured", tally, None)
        self.capacities.append(tally.audio_a_second(begun, end))

    def _terminate(self) -> None:
        tally, processes = Tally(), descendants(self._server)
        asyncio.run(self._last_load(tally))
        begun = time.monotonic()
        status = self._server.wait()
        _, left = psutil.wait_procs(processes, timeout=15)
        if status or left:
            tally.lost.append(f"status {status}, {len(left)} processes left behind")
        self._row("SIGTERM", tally, None)
        print(f"the process ended {time.monotonic() - begun:.1f} s after its last answer")

    async def _last_load(self, tally: Tally) -> None:
        """As much as is in the queue when the signal comes; nobody asks a second time."""
        turn = itertools.cycle(self._mixed)
        load = self._clients.rain(16, 3, list(itertools.islice(turn, 12)), tally)
        stop = lambda: self._server.process.send_signal(signal.SIGTERM)  # noqa: E731
        await beside(load, after=2.9, act=stop)

    def _row(self, fault: str, tally: Tally, again: float | None) -> None:
        self.rows.append((fault, tally, "-" if again is None else f"{again:.1f}"))
        print(f"{fault}: {tally.sent} sent, {tally.ok} ok, {dict(tally.codes)}", flush=True)
        for reason in tally.lost[:5]:
            print("  LOST", reason, flush=True)


def unplugged(folder: Path) -> Tally:
    command = [*WITHOUT_NETWORK, sys.executable, "-m", "bench.unplugged"]
    arguments = [str(folder / "hub"), str(folder / "seed")]
    run = subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    sent, ok, lost = json.loads(run.stdout)
    return Tally(sent=sent, ok=ok, lost=lost)


def settings(cache: Path) -> dict[str, Any]:
    return {
        "cache_dir": cache,
        "api_keys": ",".join(KEYS),
        "engine_stall_seconds": STALL,
        **SETTINGS,
    }


def report(story: Story) -> float:
    """What was kept of the capacity."""
    names = ("fault", "sent", "answered 200", "in the envelope", "lost", "s until ready again")
    table = Table(*names, title="one server, one fault after the other")
    for fault, tally, again in story.rows:
        codes = "\n".join(f"{many} x {code}" for code, many in tally.codes.most_common())
        table.add_row(fault, *map(str, (tally.sent, tally.ok, codes, len(tally.lost), again)))
    console = Console(width=150)
    console.print(table)
    before, after = story.capacities
    kept = 2 * story.goodput / (before + after)
    told = "as wanted" if kept >= KEEPS else f"under the {KEEPS:.0%} that are wanted"
    console.print(
        f"seconds of audio a second: capacity {before:.1f} before, {after:.1f} after; goodput at "
        f"{TIMES} times it {story.goodput:.1f}, which is {kept:.1%} of their mean: {told}"
    )
    return kept


if __name__ == "__main__":
    main()
