"""Stretches of a recording in which somebody speaks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.audio.incoming import Incoming
from app.speech.vad import FRAME, speech_probabilities

_HYSTERESIS = 0.15  # silero-vad: speech ends where its probability falls that far below threshold
_LEAST_THRESHOLD = 0.01  # ibid.
_LEAST_PAUSE = 2 * FRAME  # 64 ms, between two words that are not run together


@dataclass(frozen=True, slots=True)
class VadOptions:
    """What counts as speech, in the words of OpenAI's `server_vad`.

    threshold: the least probability. prefix_padding_ms: what is decoded before speech, and behind
    it. silence_duration_ms: the shortest pause that does not count as a part of it.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 200


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples from `start` up to `stop` of a recording."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def common(self, other: "Stretch") -> "Stretch":
        """Return what both have; it may be empty."""
        start = max(self.start, other.start)
        return Stretch(start, max(start, min(self.stop, other.stop)))


def find_speech(incoming: Incoming, options: VadOptions) -> Iterator[Stretch]:
    """Yield the stretches in which somebody speaks, in order, without padding, apart by the least
    pause there is, each once its end has come. Blocking, for some milliseconds a second of sound.
    """
    frames = (float(one) for block in speech_probabilities(incoming) for one in block)
    for one in _stretches(frames, options.threshold):
        yield Stretch(one.start, min(one.stop, incoming.count))


def joined(stretches: Sequence[Stretch], pause: int) -> list[Stretch]:
    """Return the stretches, with those in one that are less than a pause of so many samples
    apart."""
    found: list[Stretch] = []
    for one in stretches:
        if found and one.start - found[-1].stop < pause:
            found[-1] = Stretch(found[-1].start, one.stop)
        else:
            found.append(one)
    return found


def _stretches(frames: Iterable[float], threshold: float) -> Iterator[Stretch]:
    """Yield what lies between a frame that is likely speech and some that are likely none
    (silero-vad `utils_vad.py`, without its least length: a short word is one too)."""
    low = max(threshold - _HYSTERESIS, _LEAST_THRESHOLD)
    start = end = None
    stop = 0
    for probability in frames:
        at, stop = stop, stop + FRAME
        if probability >= threshold:
            start = at if start is None else start
            end = None
        elif start is not None and (end is not None or probability < low):
            end = at if end is None else end
            if stop - end >= _LEAST_PAUSE:
                yield Stretch(start, end)
                start = end = None
    if start is not None:
        yield Stretch(start, stop if end is None else end)
