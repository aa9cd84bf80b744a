"""What a choice of bits is based on, measured on this device or found in the cache."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.device import device_facts, fingerprint
from app.checkpoints.result_cache import ResultCache
from app.folders import cache_faults
from app.jobs import JobReporter
from app.process import in_daemon_thread, run_interruptible
from app.quantization.builder import CheckpointBuilder
from app.quantization.proving import from_thread
from app.quantization.quantizer_process import OnProgress, Progress
from app.quantization.scoring import Scoring
from app.quantization.settings_recipe import bundled_recordings, default_calibration, dtype_on
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.sources.source import Source
from app.tuning import engine_times
from app.tuning.cost import EngineTimes
from app.tuning.engine_times import Measured
from app.tuning.findings import Findings
from app.tuning.groups import Group, groups_of
from app.tuning.linear_times import LayerTimer, LinearTimes, costs_key, timed
from app.tuning.losses import losses

UsedSince = Callable[[float], bool]
_STEPS = 2  # raised when our engine comes to take another time for what is not linear


class Measurer:
    """Measures sources and what is made of them.

    Processors that others use meanwhile make wrong figures. `used_since` says whether an engine of
    ours has decoded anything since a moment of time.monotonic(): what was timed meanwhile is timed
    once more and, where that happens again, used and told, but not kept.
    """

    def __init__(
        self,
        loader: Loader,
        builder: CheckpointBuilder,
        used_since: UsedSince = lambda _: False,
    ) -> None:
        self.loader = loader
        self.settings = loader.settings
        self._builder = builder
        self._used_since = used_since
        self._cache = loader.settings.cache_dir
        self._costs = ResultCache(self._cache / "costs")

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the device is known by. Blocking, on a card: that is asked."""
        device = self.loader.device
        return device_facts(device, dtype_on(device), self.settings.linear_backend)

    async def findings(
        self, source: Source, reporter: JobReporter, calibration: Recordings | None = None
    ) -> Findings:
        """Measure what is not known yet; losses are those of `calibration`, else of what the
        settings calibrate on. Raises StartupError, EngineDied."""
        groups = groups_of(source.config)
        reporter.stage("timing the layers")
        linear, linear_disturbed = await self.layers(groups, from_thread(reporter))
        reporter.stage("timing the engine")
        whole, whole_disturbed = await self.whole(source)
        found = await self._scores(source, calibration, reporter)
        disturbed = {"the layers": linear_disturbed, "the engine": whole_disturbed}
        names = tuple(name for name, is_so in disturbed.items() if is_so)
        return Findings(self.facts, groups, linear, whole, losses(found), names)

    async def layers(
        self, groups: Sequence[Group], on_progress: OnProgress = lambda _: None
    ) -> tuple[LinearTimes, bool]:
        """Return the times of layers, and whether they were disturbed. Raises EngineFailed."""
        facts = await in_daemon_thread(lambda: self.facts)
        timer = LayerTimer(self.loader.device, self._builder.idle_priority)
        told = _with_eta(on_progress)

        async def measure() -> Any:
            work = partial(timer.rows, groups, str(facts["dtype"]), told)
            return await run_interruptible(timer.stop, work)

        rows, disturbed = await self._kept(costs_key(groups, facts), measure)
        return LinearTimes(map(timed, rows)), disturbed

    async def whole(self, source: Source) -> tuple[Measured, bool]:
        """Return the times of an engine with the source as it came, and whether they were
        disturbed. Raises StartupError, EngineDied."""
        identity = await in_daemon_thread(source.identity)
        device = await in_daemon_thread(lambda: fingerprint(self.facts))

        async def measure() -> Any:
            return asdict(await self.engine(Checkpoint(source, source.folder), source))

        key = ResultCache.key(device=device, engine=identity, steps=_STEPS)
        known, disturbed = await self._kept(key, measure)
        return _of_json(known), disturbed

    async def _kept(self, key: str, measure: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """Return a result from the cache, else measured; and whether that was disturbed."""
        known = await in_daemon_thread(self._costs.get, key)
        if known is not None:
            return known, False
        found, disturbed = await self._undisturbed(measure)
        if not disturbed:
            with cache_faults(self._cache):
                await in_daemon_thread(self._costs.put, key, found)
        return found, disturbed

    async def _undisturbed(self, measure: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """Measure, and again where it was disturbed; return the last, and whether it was."""
        for _ in range(2):
            begun = time.monotonic()
            found = await measure()
            if not self._used_since(begun):
                return found, False
        return found, True

    async def _scores(
        self, source: Source, calibration: Recordings | None, reporter: JobReporter
    ) -> dict[str, Any]:
        reporter.stage("scoring the layers")
        scoring = await in_daemon_thread(self._scoring, source, calibration)
        return await run_interruptible(self._builder.stop, scoring.scored, from_thread(reporter))

    def _scoring(self, source: Source, calibration: Recordings | None) -> Scoring:
        recordings = calibration or default_calibration(self.settings, source)
        return Scoring(self._builder.quantizer, source, recordings, self._cache)

    async def losses(
        self,
        source: Source,
        several: Sequence[Mapping[str, str]],
        reporter: JobReporter,
        calibration: Recordings | None = None,
    ) -> list[float]:
        """Measure what choices lose, rounded to nearest, in nats a token. Raises StartupError."""
        reporter.stage("measuring the choice")
        scoring = await in_daemon_thread(self._scoring, source, calibration)
        measure = partial(scoring.measured, several)
        return await run_interruptible(self._builder.stop, measure, from_thread(reporter))

    async def candidate(self, checkpoint: Checkpoint, source: Source) -> tuple[Measured, bool]:
        """Time what was made of a source, and say whether that was disturbed. Raises StartupError,
        EngineDied."""
        return await self._undisturbed(partial(self.engine, checkpoint, source))

    async def engine(self, checkpoint: Checkpoint, source: Source) -> Measured:
        """Time a checkpoint's engine, by the speech that is bundled for its source. Raises
        StartupError, EngineDied."""
        clips = await in_daemon_thread(read, bundled_recordings(source))
        window, language = await in_daemon_thread(engine_times.spoken_window, clips)
        return await engine_times.measured(
            checkpoint, self.loader, window, language, idle_priority=self._builder.idle_priority
        )


def _with_eta(on_progress: OnProgress) -> Callable[[int, int], None]:
    """Return what reports how many layers of how many were timed, and when the rest will be."""
    started = time.monotonic()

    def told(done: int, total: int) -> None:
        eta = (time.monotonic() - started) / done * (total - done)
        on_progress(Progress(done, total, round(eta, 1)))

    return told


def _of_json(known: dict[str, Any]) -> Measured:
    """JSON's keys are texts."""
    times = known["times"]
    step = {int(count): seconds for count, seconds in times["step"].items()}
    runs = {int(count): seconds for count, seconds in known["runs"].items()}
    return Measured(**known | {"times": EngineTimes(times["encoder"], step), "runs": runs})
