"""A container's own clock: sound that begins late, or pauses, is where the container has it."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

# Containers round times, encoders begin a little early, and recorders' clocks drift.
_TOLERANCE = 0.25  # seconds
_LONGEST_GAP = 3600.0  # seconds: a longer one, or one beyond the container's end, is damage
_SPARE = 1.0  # seconds that a container may be longer than it says


class Timeline:
    """Tells how much silence lies before each frame of a stream."""

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._time_base = stream.time_base
        start, duration = container.start_time, container.duration
        self._start = start / av.time_base if start else 0.0
        self._end = duration / av.time_base + _SPARE if duration else None
        self._position = 0.0  # seconds of sound and silence so far
        self._rate: int | None = None  # of the frames so far, in Hz

    def gaps(self, frames: Iterator[AudioFrame]) -> Iterator[tuple[float, AudioFrame]]:
        """Yield each frame with the seconds of silence before it."""
        for frame in frames:
            self._check_clock(frame)
            gap = self._gap(frame)
            self._position += gap + frame.samples / frame.sample_rate
            yield gap, frame

    def _check_clock(self, frame: AudioFrame) -> None:
        """Have no clock from where the rate changes, where the clock counts samples: a chained
        stream's are then counted as if they were the first one's."""
        if (
            self._rate
            and frame.sample_rate != self._rate
            and self._time_base == 1 / Fraction(self._rate)
        ):
            self._time_base = None
        self._rate = frame.sample_rate

    def _gap(self, frame: AudioFrame) -> float:
        if frame.pts is None or self._time_base is None:
            return 0.0
        at = float(frame.pts * self._time_base) - self._start
        gap = at - self._position
        if gap < -_TOLERANCE:  # a chained stream's times begin anew
            self._start += gap
            return 0.0
        is_damage = gap > _LONGEST_GAP or (self._end is not None and at > self._end)
        if gap <= _TOLERANCE or is_damage:
            return 0.0
        return gap
