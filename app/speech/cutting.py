"""Cutting of a recording into windows: in pauses, and around what is not speech.

Nothing of a stretch of speech is left out, and none of it is in two windows. Where somebody speaks
without a pause, a window is longer than the model decodes: how much of it the model has got through
shows where to cut it.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile, tee, zip_longest

from app.audio.incoming import Incoming, Whole
from app.audio.waveform import MS, SAMPLE_RATE, Pcm, Waveform
from app.settings import Settings
from app.speech.quiet import quietest
from app.speech.stretches import Stretch, VadOptions, find_speech, joined
from app.speech.windows import Window, parts_of

_SEARCH_SECONDS = 6.0  # how far before the limit a quiet place may lie
_LEAST = SAMPLE_RATE  # a window's least length, where a choice exists
_LONGEST_PAUSE = SAMPLE_RATE  # what is left of one; the model invents in longer ones
# Between two words; a shorter one may be the closure of a plosive ("hi-dden"), within one.
_SAFE_PAUSE = SAMPLE_RATE // 5


@dataclass(frozen=True, slots=True)
class Cutting:
    """How recordings are cut. window_seconds: the longest window. vad: what counts as speech; None
    decodes all of a recording."""

    window_seconds: float = 30
    vad: VadOptions | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Cutting":
        """Return what the settings say of it."""
        return cls(settings.window_seconds, vad_of(settings) if settings.vad else None)


def vad_of(settings: Settings) -> VadOptions:
    """Return what counts as speech by the settings, whether they have it looked for or not."""
    return VadOptions(
        settings.vad_threshold, settings.vad_prefix_padding_ms, settings.vad_silence_duration_ms
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """What cannot be cut any further. pause: samples of silence behind it; 0 where it was cut in
    speech."""

    stretch: Stretch
    pause: int = 0

    def __len__(self) -> int:
        return len(self.stretch)


def cut(wave: Waveform, how: Cutting) -> list[Window]:
    """Return the windows that a recording is decoded in; none where nobody speaks. One is longer
    than `how` allows where speech has no pause: see `first_piece`. Blocking, for some milliseconds
    a second of sound."""
    if how.vad:
        return list(cut_incoming(Whole(wave.pcm), how.window_seconds, how.vad))
    whole, limit = Stretch(0, len(wave.pcm)), int(how.window_seconds * SAMPLE_RATE)
    return [
        Window.of(one.start, wave.pcm[one.start : one.stop])
        for one in _divided(wave.pcm, whole, limit)
    ]


def cut_incoming(incoming: Incoming, window_seconds: float, vad: VadOptions) -> Iterator[Window]:
    """Yield the windows of a recording around what is speech by `vad`, each once what has come
    tells where it ends: the same ones, however the recording comes. Blocking, as `cut` is, and
    until there is more. Raises NoMoreComes."""
    limit, found = int(window_seconds * SAMPLE_RATE), deque[Stretch]()

    def speech() -> Iterator[Stretch]:
        for one in find_speech(incoming, vad):
            found.append(one)
            yield one

    pieces = (
        piece
        for one in _kept(speech(), incoming, vad)
        for piece in _small(incoming.pcm, one, limit)
    )
    for together in _unbroken(_packed(pieces, limit)):
        while found[0].stop <= together[0].start:
            found.popleft()
        mine = [one for one in found if one.start < together[-1].stop]
        told = joined(mine, vad.silence_duration_ms * MS)
        yield Window(tuple(parts_of(incoming.pcm, together)), tuple(told))


def first_piece(window: Window, window_seconds: float) -> tuple[Window, Window | None]:
    """Return what of a window is decoded at once, up to a quiet place, and what is left of it."""
    most_ms = int(1000 * window_seconds)
    if window.duration_ms <= most_ms:
        return window, None
    high = min(most_ms, window.duration_ms - _LEAST // MS)
    low = high - min(int(1000 * _SEARCH_SECONDS), most_ms // 2)
    stop = quietest(window.before(high).pcm, low * MS, high * MS) // MS
    return window.before(stop), window.after(stop)


def _kept(speech: Iterator[Stretch], incoming: Incoming, vad: VadOptions) -> Iterator[_Piece]:
    """Yield for each stretch of speech what is decoded of it and around it: it and its padding, or
    up to the middle of a pause that is too short for more to be left out."""
    padding = vad.prefix_padding_ms * MS
    longest = max(2 * padding, vad.silence_duration_ms * MS, _LONGEST_PAUSE)
    each, behind = tee(speech)
    first = next(behind, None)
    begin = max(0, first.start - padding) if first else 0
    for one, after in zip_longest(each, behind):
        if after is None:  # all has come
            yield _Piece(Stretch(begin, min(incoming.count, one.stop + padding)))
            return
        pause = after.start - one.stop
        if pause <= longest:
            end = start = one.stop + pause // 2
        else:
            end, start = one.stop + padding, after.start - padding
        yield _Piece(Stretch(begin, end), pause)
        begin = start


def _unbroken(several: Iterable[list[_Piece]]) -> Iterator[list[Stretch]]:
    """Yield windows, with those in one that no safe pause lies between."""
    together: list[_Piece] = []
    for pieces in several:
        together += pieces
        if together[-1].pause >= _SAFE_PAUSE:
            yield [piece.stretch for piece in together]
            together = []
    if together:
        yield [piece.stretch for piece in together]


def _packed(pieces: Iterable[_Piece], limit: int) -> Iterator[list[_Piece]]:
    """Yield what goes into a window together: as much as fits, up to the longest pause near the
    limit."""
    waiting: list[_Piece] = []
    for piece in pieces:
        waiting.append(piece)
        while sum(map(len, waiting)) > limit:
            count = _fitting(waiting, limit)
            yield waiting[:count]
            del waiting[:count]
    if waiting:
        yield waiting


def _fitting(pieces: Sequence[_Piece], limit: int) -> int:
    """Return how many of the pieces, which do not all fit, go into a window."""
    search = min(int(_SEARCH_SECONDS * SAMPLE_RATE), limit // 2)
    lengths = list(takewhile(lambda length: length <= limit, accumulate(map(len, pieces))))
    most = len(lengths)
    near = range(bisect_left(lengths, limit - search, hi=most - 1), most)
    return 1 + max(near, key=lambda n: (pieces[n].pause, n))


def _small(pcm: Pcm, piece: _Piece, limit: int) -> Iterator[_Piece]:
    """Yield a piece in pieces that fit into a window."""
    *earlier, last = _divided(pcm, piece.stretch, limit)
    for one in earlier:
        yield _Piece(one)
    yield _Piece(last, piece.pause)


def _divided(pcm: Pcm, whole: Stretch, limit: int) -> Iterator[Stretch]:
    """Yield a stretch in stretches that fit into a window, each cut at the quietest place near the
    limit."""
    search = min(int(_SEARCH_SECONDS * SAMPLE_RATE), limit // 2)
    start, end = whole.start, whole.stop
    while end - start > limit:
        # What is left is long enough to be heard as something: a sliver invites invention.
        high = min(start + limit, end - min(_LEAST, limit // 2))
        stop = quietest(pcm, high - search, high)
        yield Stretch(start, stop)
        start = stop
    yield Stretch(start, end)
