"""Times of a whole engine: an encoder's pass, and a decoder's step by how many windows share it."""

import asyncio
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.audio.waveform import SAMPLE_RATE, Pcm, to_pcm
from app.checkpoints.checkpoint import Checkpoint
from app.models.base import DecodeRequest, WindowDecoder
from app.recordings.clip import Clip
from app.serving.loading import Loader
from app.speech.windows import Window
from app.tuning.cost import EngineTimes
from app.tuning.linear_times import MOST_SPREAD

AT_ONCE = (1, 4, 16)
_ROUNDS = 3
_LONGEST = 25 * SAMPLE_RATE  # samples of the window
_PAUSE = SAMPLE_RATE // 2


@dataclass(frozen=True)
class Measured:
    """Times of an engine. runs: seconds in which one window was decoded so many times at once.
    tokens, sound_seconds: of that window. spread: the largest, between rounds, as a share of the
    median."""

    times: EngineTimes
    runs: Mapping[int, float]
    tokens: int
    sound_seconds: float
    spread: float

    @property
    def tokens_a_second(self) -> float:
        return self.tokens / self.sound_seconds

    @property
    def unsteady(self) -> bool:
        return self.spread > MOST_SPREAD


def spoken_window(clips: Iterable[Clip]) -> tuple[Window, str]:
    """Return a window full of speech in the language of the first clip, and that language. Raises
    NoCalibration."""
    parts: list[Pcm] = []
    language = ""
    for clip in clips:
        language = language or clip.language
        if clip.language != language:
            continue
        pcm = to_pcm(clip.waveform().samples)
        if parts and sum(map(len, parts)) + len(pcm) > _LONGEST:
            break
        parts += [pcm, to_pcm(np.zeros(_PAUSE, np.float32))]
    return Window.of(0, np.concatenate(parts)[:_LONGEST]), language


async def measured(
    checkpoint: Checkpoint,
    loader: Loader,
    window: Window,
    language: str,
    *,
    idle_priority: bool = False,
) -> Measured:
    """Start an engine and time it; what varies by more than a fifth is timed again. Raises
    StartupError, EngineDied."""
    model = await loader.load(
        checkpoint,
        None,
        windows=max(AT_ONCE),
        patient=True,
        idle_priority=idle_priority,
        is_whole=True,
    )
    request = DecodeRequest(window, languages=(language,), fallback=False, is_whole=True)
    try:
        found = await _timed(model.loaded.decoder, request, model.loaded.slots)
        if found.unsteady:
            again = await _timed(model.loaded.decoder, request, model.loaded.slots)
            found = min(found, again, key=lambda one: one.spread)
        return found
    finally:
        await asyncio.to_thread(model.loaded.engine.stop)


async def _timed(decoder: WindowDecoder, request: DecodeRequest, slots: int) -> Measured:
    runs = {
        count: [await at_once(decoder, request, count) for _ in range(_ROUNDS)]
        for count in AT_ONCE
        if count <= slots
    }
    steps = {count: [step_seconds(run) for run in several] for count, several in runs.items()}
    step = {count: statistics.median(several) for count, several in steps.items()}
    first = [run.tokens[0][0] - run.begun for run in runs[1]]
    whole = {n: statistics.median(run.seconds for run in several) for n, several in runs.items()}
    return Measured(
        EngineTimes(statistics.median(first) - step[1], taking_turns(step)),
        runs=taking_turns(whole),
        tokens=len(runs[1][0].tokens[0]),
        sound_seconds=len(request.window.pcm) / SAMPLE_RATE,
        spread=max(map(spread, [first, *steps.values()])),
    )


def taking_turns(seconds: Mapping[int, float]) -> dict[int, float]:
    """Return seconds for every count: windows that there is no room for wait for those that are
    decoded."""
    most = max(seconds)
    return {n: seconds[n] if n in seconds else seconds[most] * n / most for n in AT_ONCE}


def spread(values: Sequence[float]) -> float:
    """Return how far the middle half of values lies apart, as a share of their median."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


@dataclass(frozen=True)
class Run:
    """One window decoded several times at once. tokens: when each came, of each."""

    begun: float
    tokens: Sequence[Sequence[float]]

    @property
    def seconds(self) -> float:
        return max(one[-1] for one in self.tokens) - self.begun


async def at_once(decoder: WindowDecoder, request: DecodeRequest, count: int) -> Run:
    """Decode a window so many times at once. Raises EngineDied."""
    tokens: list[list[float]] = [[] for _ in range(count)]

    async def decode(mine: list[float]) -> None:
        async for _ in decoder.decode_window(request, lambda: mine.append(time.perf_counter())):
            pass

    begun = time.perf_counter()
    await asyncio.gather(*map(decode, tokens))
    return Run(begun, tokens)


def step_seconds(run: Run) -> float:
    """Return the seconds of a step, of the time in which all windows were being decoded."""
    begun, ended = max(one[0] for one in run.tokens), min(one[-1] for one in run.tokens)
    steps = [sum(begun < at <= ended for at in one) for one in run.tokens]
    return (ended - begun) / max(statistics.mean(steps), 1)
