"""What a choice is based on, measured on this device or found in the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.device import device_facts, fingerprint
from app.checkpoints.result_cache import ResultCache
from app.jobs import JobReporter
from app.process import in_daemon_thread, run_interruptible
from app.quantization.builder import CheckpointBuilder
from app.quantization.proving import from_thread
from app.quantization.settings_recipe import default_calibration, dtype_on
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.sources.source import Source
from app.tuning import engine_times, linear_times
from app.tuning.cost import Cost, EngineTimes
from app.tuning.engine_times import Measured
from app.tuning.groups import Group, groups_of
from app.tuning.linear_times import LinearTimes
from app.tuning.losses import Losses, losses


@dataclass(frozen=True)
class Findings:
    """What was measured of a source on a device. facts: the device's. losses: of "group scheme", in
    nats a token."""

    facts: dict[str, Any]
    groups: list[Group]
    linear: LinearTimes
    whole: Measured
    losses: dict[str, float]

    @property
    def device(self) -> str:
        """The device's fingerprint."""
        return fingerprint(self.facts)

    def cost(self, clip_seconds: float) -> Cost:
        """Return what predicts a clip of so many seconds of speech."""
        tokens = self.whole.tokens_a_second * clip_seconds
        return Cost(self.groups, self.linear, self.whole.times, tokens)

    @property
    def doubts(self) -> list[str]:
        """What varied by more than a fifth, also when it was measured again."""
        told = [
            f"{one.shape[0]} to {one.shape[1]}, {one.scheme}, {one.rows} rows: {one.spread:.0%}"
            for one in self.linear.unsteady
        ]
        return told + ([f"the engine: {self.whole.spread:.0%}"] if self.whole.unsteady else [])


class Measurer:
    """Measures sources. Processors that others use meanwhile make wrong figures."""

    def __init__(self, loader: Loader, builder: CheckpointBuilder) -> None:
        self.loader = loader
        self._builder = builder
        self.settings = loader.settings
        self._cache = loader.settings.cache_dir
        self.facts = device_facts(
            loader.device, dtype_on(loader.device), self.settings.linear_backend
        )

    async def findings(self, source: Source, reporter: JobReporter) -> Findings:
        """Measure what is not known yet. Raises StartupError, EngineDied."""
        groups = groups_of(source.config)
        recordings = default_calibration(self.settings, source)
        reporter.stage("timing the layers")
        device = self.loader.device
        linear = await in_daemon_thread(
            linear_times.measured, groups, self.facts, self._cache, device
        )
        reporter.stage("timing the engine")
        whole = await self.whole(source, recordings)
        reporter.stage("scoring the layers")
        scorer = await in_daemon_thread(self._losses, source)
        found = await run_interruptible(self._builder.stop, scorer.scored, from_thread(reporter))
        return Findings(self.facts, groups, linear, whole, losses(found))

    def _losses(self, source: Source) -> Losses:
        recordings = default_calibration(self.settings, source)
        return Losses(self._builder.quantizer, source, recordings, self._cache)

    async def losses(
        self, source: Source, several: Sequence[Mapping[str, str]], reporter: JobReporter
    ) -> list[float]:
        """Measure what choices lose, rounded to nearest, in nats a token. Raises StartupError."""
        reporter.stage("measuring the choice")
        scorer = await in_daemon_thread(self._losses, source)
        measure = partial(scorer.measured, several)
        return await run_interruptible(self._builder.stop, measure, from_thread(reporter))

    async def whole(self, source: Source, recordings: Recordings) -> Measured:
        """Return the times of an engine with the source as it came, from the cache or measured
        now. Raises StartupError, EngineDied."""
        memo = ResultCache(self._cache / "costs")
        identity = await in_daemon_thread(source.identity)
        key = ResultCache.key(device=fingerprint(self.facts), engine=identity)
        known = memo.get(key)
        if known is not None:
            return _of_json(known)
        found = await self.engine(Checkpoint(source, source.folder), recordings)
        memo.put(key, asdict(found))
        return found

    async def engine(self, checkpoint: Checkpoint, recordings: Recordings) -> Measured:
        """Time a checkpoint's engine. Raises StartupError, EngineDied."""
        clips = await in_daemon_thread(read, recordings)
        window, language = await in_daemon_thread(engine_times.spoken_window, clips)
        return await engine_times.measured(checkpoint, self.loader, window, language)


def _of_json(known: dict[str, Any]) -> Measured:
    """JSON's keys are texts."""
    times = known["times"]
    step = {int(count): seconds for count, seconds in times["step"].items()}
    runs = {int(count): seconds for count, seconds in known["runs"].items()}
    return Measured(**known | {"times": EngineTimes(times["encoder"], step), "runs": runs})
