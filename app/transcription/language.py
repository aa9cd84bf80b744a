"""Which language a recording is in, so that no window of it is heard in a chance one."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from app.admission.arrival import Slot
from app.models.base import DecodeRequest, LanguageDetection, LoadedModel, WindowResult
from app.speech.windows import Window
from app.transcription.finished import Detected

# How likely a window is in a language that none before it was in.
_SWITCH = 0.05


class RecordingLanguage:
    """What the windows of a recording have been detected to be in. For the event loop's thread;
    windows are numbered from 0.

    Each window goes by those before it in the recording, whichever finish first: the same recording
    is heard in the same languages again.
    """

    def __init__(self) -> None:
        self._first: dict[int, Detected | None] = {}  # of each window; None has no say
        # Seconds by language before the window of each number, as far as that is known.
        self._seconds: list[dict[str, float]] = [{}]
        self._news = asyncio.Event()

    async def of_window(
        self, number: int, result: WindowResult, *, is_rest: bool = False
    ) -> str | None:
        """Return the language that a window is to be decoded in after all, where what was said
        before makes that likelier than what the model hears; else None. All wait for what those
        before them are detected to be in. `is_rest`: its beginning was decoded by itself."""
        heard = result.detection.languages
        if len(result.request.languages) == 1 or len(heard) < 2:
            self.give_up(number)
            return None
        before = await self._before(number + is_rest)
        if before is not None:
            ours = likeliest({code: p * _prior(before, code) for code, p in heard.items()})
            if ours != likeliest(heard):
                self.give_up(number)
                return ours
        self._set(number, Detected.of(result))
        return None

    def add_finished(self, number: int, detected: Sequence[Detected]) -> None:
        """Take what a window was detected to be in that was finished before this process."""
        first = detected[0] if detected else None
        self._set(number, first if first and len(first.languages) > 1 else None)

    def give_up(self, number: int) -> None:
        """Have nobody wait for a window's detection: it has none, or none that counts."""
        self._set(number, None)

    def _set(self, number: int, detected: Detected | None) -> None:
        """Note what a window was detected to be in; the first time counts."""
        if number in self._first:
            return
        self._first[number] = detected
        while (following := len(self._seconds) - 1) in self._first:
            self._seconds.append(_added(self._seconds[-1], self._first[following]))
        self._news.set()
        self._news = asyncio.Event()

    async def _before(self, number: int) -> Mapping[str, float] | None:
        """Wait for the windows before one; return seconds by language, None of the first."""
        while number >= len(self._seconds):
            await self._news.wait()
        return self._seconds[number] if number else None


def _added(seconds: Mapping[str, float], detected: Detected | None) -> dict[str, float]:
    """Return the seconds of each language with those of one more window."""
    added = defaultdict(float, seconds)
    if detected:
        length = detected.duration_ms / 1000 * (1 - detected.no_speech_prob)
        for language, probability in detected.languages.items():
            added[language] += probability * length
    return added


def _prior(seconds: Mapping[str, float], language: str) -> float:
    """Return how likely a language is by what was said before."""
    whole = sum(seconds.values())
    share = seconds.get(language, 0.0) / whole if whole else 0.0
    return _SWITCH + (1 - _SWITCH) * share


def likeliest(languages: Mapping[str, float]) -> str:
    """Return the language with the highest figure; "" where there is none."""
    return max(languages, key=languages.__getitem__, default="")


async def detect(model: LoadedModel, window: Window, slot: Slot) -> LanguageDetection:
    """Decode a window as far as the model's first look at it. Raises EngineDied."""
    results = model.decoder.decode_window(DecodeRequest(window))
    async with slot(window.duration_ms / 1000), aclosing(results):
        return (await anext(results)).detection
