"""Windows: what the model decodes at once of a recording, at most 30 s.

A window knows where each of its samples lies in the recording, so timestamps need no repair later.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.audio.waveform import MS, SAMPLE_RATE, Pcm, Samples, to_samples
from app.speech.quiet import quietest
from app.speech.stretches import Stretch

_FRAME = SAMPLE_RATE // 50  # 20 ms, one of Whisper's timestamp steps
_SYLLABLE = 12  # frames
_FAINT = 0.1  # 20 dB below the loud places
_HEARING = 1e-4  # a level nobody would call sound


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the recording. `pcm` is a view, shape (n,), of the recording from sample
    `offset` on."""

    offset: int
    pcm: Pcm

    @property
    def stop(self) -> int:
        return self.offset + len(self.pcm)

    def from_(self, sample: int) -> "Part":
        """Return what is left of it behind its first `sample` samples."""
        return Part(self.offset + sample, self.pcm[sample:])


@dataclass(frozen=True, slots=True)
class Window:
    """Parts of a recording, in order and end to end: what lies between them is not decoded.

    speech: where in it somebody speaks, in samples of the recording; None where nobody looked for
    that.
    """

    parts: tuple[Part, ...]
    speech: tuple[Stretch, ...] | None = None

    @classmethod
    def of(cls, offset: int, pcm: Pcm) -> "Window":
        """Return a window of one part, in which nobody looked for speech."""
        return cls((Part(offset, pcm),))

    @property
    def samples(self) -> Samples:
        """All that is decoded, shape (n,)."""
        return to_samples(self.pcm)

    @property
    def pcm(self) -> Pcm:
        """All that is decoded, in 16 bits, shape (n,): a view where it is one part."""
        if len(self.parts) == 1:
            return self.parts[0].pcm
        return np.concatenate([part.pcm for part in self.parts])

    @property
    def start_ms(self) -> int:
        """Where it begins in the recording."""
        return self.parts[0].offset // MS

    @property
    def duration_ms(self) -> int:
        return sum(len(part.pcm) for part in self.parts) // MS

    def time_of(self, ms: int, *, is_end: bool = False) -> int:
        """Return where in the recording a point of the window lies, both in milliseconds. Where
        two parts meet, something ends with the one and begins with the other."""
        left = max(0, ms * MS)
        for part in self.parts:
            if left < len(part.pcm) or (is_end and left == len(part.pcm)):
                return (part.offset + left) // MS
            left -= len(part.pcm)
        return self.parts[-1].stop // MS

    def point_of(self, time_ms: int) -> int:
        """Return where in the window a time of the recording lies, both in milliseconds: what lies
        between two parts, where they meet."""
        sample, before = time_ms * MS, 0
        for part in self.parts:
            if sample <= part.stop:
                return (before + max(0, sample - part.offset)) // MS
            before += len(part.pcm)
        return before // MS

    def after(self, ms: int) -> "Window":
        """Return what is left of the window behind one of its points, in milliseconds. Something
        must be."""
        left, rest = ms * MS, list(self.parts)
        while rest and left >= len(rest[0].pcm):
            left -= len(rest.pop(0).pcm)
        return replace(self, parts=(rest[0].from_(left), *rest[1:]))

    def before(self, ms: int) -> "Window":
        """Return what lies before one of the window's points, in milliseconds. Something must."""
        left, parts = ms * MS, list[Part]()
        for part in self.parts:
            if left <= 0:
                break
            parts.append(Part(part.offset, part.pcm[:left]))
            left -= len(part.pcm)
        return replace(self, parts=tuple(parts))

    def followed_by(self, other: "Window") -> "Window":
        """Return both in one."""
        return replace(self, parts=(*self.parts, *other.parts))

    def middle(self) -> int:
        """Return the point in the window's middle half, in milliseconds, where it is best cut: in
        the longest pause, or in its quietest place where nobody looked for speech."""
        low, high = self.duration_ms // 4, 3 * self.duration_ms // 4
        ends = [self.point_of(one.stop // MS) for one in self.speech or ()]
        starts = [self.point_of(one.start // MS) for one in self.speech or ()]
        pauses = [(b - a, (a + b) // 2) for a, b in zip(ends, starts[1:], strict=False)]
        within = [one for one in pauses if one[0] > 0 and low <= one[1] <= high]
        if within:
            return max(within)[1]
        return quietest(self.pcm, low * MS, high * MS) // MS

    def speech_after(self, ms: int) -> list[Stretch]:
        """Return the speech behind one of the window's points, in milliseconds."""
        begin = self.time_of(ms) * MS
        behind = [Stretch(max(begin, part.offset), max(begin, part.stop)) for part in self.parts]
        found = (one.common(part) for part in behind for one in self.speech or ())
        return [one for one in found if len(one)]

    def speech_ms_after(self, ms: int) -> int:
        """Return how much speech lies behind one of the window's points, both in milliseconds."""
        return sum(map(len, self.speech_after(ms))) // MS

    def is_heard_after(self, ms: int) -> bool:
        """Return whether something sounds behind one of the window's points, in milliseconds, where
        nobody looked for speech: for a syllable's length, not far below the window's loud places.
        """
        samples = self.samples
        count = len(samples) // _FRAME
        frames = samples[: count * _FRAME].reshape(count, _FRAME)
        levels = np.sqrt(np.mean(np.square(frames), axis=1))
        if not count or (loud := float(np.quantile(levels, 0.95))) < _HEARING:
            return False
        behind = levels[ms * MS // _FRAME :]
        return int(np.sum(behind > _FAINT * loud)) >= _SYLLABLE


def parts_of(pcm: Pcm, stretches: list[Stretch]) -> Iterator[Part]:
    """Yield the recording's parts that the stretches cover; those that touch are one."""
    for index, one in enumerate(stretches):
        if index and one.start == stretches[index - 1].stop:
            continue
        last = index
        while last + 1 < len(stretches) and stretches[last].stop == stretches[last + 1].start:
            last += 1
        yield Part(one.start, pcm[one.start : stretches[last].stop])
