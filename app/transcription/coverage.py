"""What became of a recording's speech: no second of it is lost without a word."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.audio.waveform import MS
from app.speech.windows import Window
from app.transcription.policy import LEAST_SPEECH_MS, Accept, DecodeAgain, Drop
from app.transcription.windows import Pass


@dataclass(frozen=True, slots=True)
class DroppedSpeech:
    """Speech that no text stands for, in milliseconds from the recording's start, and why.

    no_speech: the model calls it silence and is unsure of its text. more_than_said: what it writes
    for the rest of a window is more than anybody could say in the time. nothing_decoded: the model
    ended before it did, also when it was decoded again. repetition: the model repeats itself there.
    channel: from 0, where channels are transcribed by themselves.
    """

    start_ms: int
    end_ms: int
    reason: str
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Milliseconds of a recording's speech. speech_ms: found, all of which is decoded. again_ms:
    decoded once more. dropped: what no text stands for."""

    speech_ms: int
    again_ms: int = 0
    dropped: tuple[DroppedSpeech, ...] = ()

    @property
    def dropped_ms(self) -> int:
        return sum(one.end_ms - one.start_ms for one in self.dropped)


def coverage(windows: Sequence[Window], passes: Sequence[Pass]) -> Coverage:
    """Return what became of the speech that these windows hold, in all the times that they were
    decoded."""
    again = [one.verdict.request.window for one in passes if isinstance(one.verdict, DecodeAgain)]
    return Coverage(
        speech_ms=sum(window.speech_ms_after(0) for window in windows),
        again_ms=sum(window.speech_ms_after(0) for window in again),
        dropped=tuple(lost for one in passes for lost in _dropped(one)),
    )


def summed(several: Iterable[Coverage]) -> Coverage:
    """Return what became of the speech of all of these, which follow one another."""
    found = list(several)
    return Coverage(
        sum(one.speech_ms for one in found),
        sum(one.again_ms for one in found),
        tuple(dropped for one in found for dropped in one.dropped),
    )


def _dropped(one: Pass) -> Iterator[DroppedSpeech]:
    """Yield what a pass leaves without text, unless it is decoded again."""
    if isinstance(one.verdict, DecodeAgain):
        return
    window = one.result.request.window
    is_loop = isinstance(one.verdict, Accept) and one.verdict.looped
    told = one.result.closed if is_loop else one.segments  # what a loop says stands for nothing
    behind = window.point_of(told[-1].end_ms) if told else 0
    follows_text = told or one.result.request.is_rest
    if follows_text and window.speech_ms_after(behind) < LEAST_SPEECH_MS:
        return  # within what a segment's end is off by
    for stretch in window.speech_after(behind):
        yield DroppedSpeech(stretch.start // MS, stretch.stop // MS, _reason(one.verdict))


def _reason(verdict: Accept | Drop) -> str:
    if isinstance(verdict, Drop):
        return verdict.reason
    return "repetition" if verdict.looped else "nothing_decoded"
