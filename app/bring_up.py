"""From settings to a serving engine: the start-up as it happens, stage by stage."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.asr.decoding import WhisperTranscriber
from app.asr.hearing import Ask
from app.asr.plan import Device, EnginePlan, Geometry, plan_engine, weight_bytes
from app.asr.rules import WindowRules
from app.asr.text import TextCodec
from app.asr.tokens import SpecialTokens
from app.audio.waveform import SAMPLE_RATE
from app.audio.windows import Window, quietest
from app.errors import StartupError
from app.making import Checkpoint, Maker
from app.metrics import Metrics
from app.process import in_daemon_thread
from app.settings import Settings
from app.startup import Stage, Startup

if TYPE_CHECKING:
    from app.asr.engine import VllmEngine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """A loaded checkpoint, ready to transcribe."""

    checkpoint: Checkpoint
    engine: "VllmEngine"
    transcriber: WhisperTranscriber
    kernels: dict[str, int]
    since: int

    def describe(self) -> dict[str, Any]:
        """The entry in /v1/models, beside OpenAI's fields."""
        checkpoint = self.checkpoint
        return {
            "source": checkpoint.source.name,
            "revision": checkpoint.source.revision or None,
            "scheme": checkpoint.scheme,
            "kernels": self.kernels,
            "weight_bytes": weight_bytes(checkpoint.folder),
            "fingerprint": checkpoint.fingerprint,
            "languages": sorted(self.transcriber.languages()),
        }


class BringUp:
    """One start. `stop` may be called at any time, also while `run` is under way."""

    def __init__(
        self, settings: Settings, device: Device, startup: Startup, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._device = device
        self._startup = startup
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._maker = Maker(settings, device, self._enter)
        self._engine: VllmEngine | None = None

    async def run(self) -> Service:
        """Go through the stages up to warming. Raises StartupError."""
        checkpoint = await in_daemon_thread(self._maker.checkpoint)
        self._enter(Stage.LOADING, checkpoint.folder.name)
        tokens = SpecialTokens.load(checkpoint.folder)
        plan = plan_engine(
            Geometry.of(checkpoint.folder),
            self._device,
            windows=self._settings.max_windows,
            kv_bytes=self._settings.kv_cache_bytes,
        )
        log.info("engine: %s", plan)
        self._engine = await in_daemon_thread(self._load, checkpoint, tokens, plan)
        self._enter(Stage.WARMING)
        transcriber = WhisperTranscriber(
            self._engine,
            tokens,
            TextCodec(checkpoint.folder, tokens),
            window_seconds=self._settings.window_seconds,
            # Twice what decodes at once keeps the engine busy while answers are rendered.
            in_flight=2 * plan.windows,
        )
        await _warm(self._engine, (tokens.start,))
        kernels = await self._engine.linear_kernels()
        service = Service(checkpoint, self._engine, transcriber, kernels, int(time.time()))
        log.info(
            "serving %s (%s, %.1f MB) through %s",
            checkpoint.source.name,
            checkpoint.scheme,
            weight_bytes(checkpoint.folder) / 1e6,
            ", ".join(f"{kernel} x{count}" for kernel, count in kernels.items()),
        )
        return service

    def stop(self) -> None:
        """End every process this start began. Blocking, for seconds at most."""
        self._maker.stop()
        if self._engine is not None:
            self._engine.stop()

    def _enter(self, stage: Stage, detail: str = "", **progress: Any) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(lambda: self._startup.enter(stage, detail, **progress))

    def _load(
        self, checkpoint: Checkpoint, tokens: SpecialTokens, plan: EnginePlan
    ) -> "VllmEngine":
        from app.asr.engine import VllmEngine  # imports vLLM: seconds, so not before it is needed

        return VllmEngine.start(
            checkpoint.source.name,
            checkpoint.folder,
            plan,
            tokens,
            self._metrics,
            self._settings.linear_backend,
        )


async def _warm(engine: "VllmEngine", prompt: tuple[int, ...]) -> None:
    """A second of faint noise through what is slow the first time, so that no client pays for
    it; a few tokens of it, for a model may find a great deal to say about noise."""
    noise = np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE).astype(np.float32)
    await asyncio.to_thread(quietest, noise, 0, len(noise))  # imports librosa
    ask = Ask(Window(0, noise), WindowRules(), prompt)
    async for _ in engine.decode(ask, max_tokens=4):
        pass


def unexpected(error: BaseException) -> StartupError:
    """A fault nobody foresaw, as the operator is told of it."""
    return StartupError(
        f"{type(error).__name__}: {error}", "This is a defect: the log above has its traceback."
    )
