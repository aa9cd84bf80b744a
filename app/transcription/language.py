"""Which language a recording is in, so that no window of it is heard in a chance one."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing

from app.admission.control import Slot
from app.models.base import DecodeRequest, LanguageDetection, LoadedModel, WindowResult
from app.speech.windows import Window

# How likely a window is in a language that none before it was in.
_SWITCH = 0.05


class RecordingLanguage:
    """What the windows of a recording have been detected to be in so far. For the event loop's
    thread; windows are numbered from 0."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._first = asyncio.Event()

    async def of_window(self, number: int, result: WindowResult) -> str | None:
        """Return the language that a window is to be decoded in after all, where what was said
        before makes that likelier than what the model hears; else None. All wait for the first
        window's detection."""
        heard = result.detection.languages
        if len(result.request.languages) == 1 or len(heard) < 2:
            self._first.set()
            return None
        if number == 0:
            self._add(result)
            self._first.set()
            return None
        await self._first.wait()
        likely = {code: p * self._prior(code) for code, p in heard.items()}
        ours = likeliest(likely)
        if ours != likeliest(heard):
            return ours
        self._add(result)
        return None

    def give_up(self) -> None:
        """Have nobody wait for the first window: it has ended without a detection."""
        self._first.set()

    def _prior(self, language: str) -> float:
        whole = sum(self._seconds.values())
        share = self._seconds[language] / whole if whole else 0.0
        return _SWITCH + (1 - _SWITCH) * share

    def _add(self, result: WindowResult) -> None:
        window, detection = result.request.window, result.detection
        seconds = window.duration_ms / 1000 * (1 - detection.no_speech_prob)
        for language, probability in detection.languages.items():
            self._seconds[language] += probability * seconds


def likeliest(languages: Mapping[str, float]) -> str:
    """Return the language with the highest figure; "" where there is none."""
    return max(languages, key=lambda code: languages[code], default="")


async def detect(model: LoadedModel, window: Window, slot: Slot) -> LanguageDetection:
    """Decode a window as far as the model's first look at it. Raises EngineDied."""
    results = model.decoder.decode_window(DecodeRequest(window))
    async with slot(window.duration_ms / 1000), aclosing(results):
        return (await anext(results)).detection
