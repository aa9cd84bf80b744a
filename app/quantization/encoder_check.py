"""What an encoder as long as the window costs a checkpoint: its error rate by classes of length,
with it and without."""

from collections.abc import Sequence

import numpy as np

from app.models.whisper_vllm.encoder_length import BOUNDS_MS, LengthClass, class_of
from app.recordings.clip import Clip
from app.recordings.error_rates import Counts, Pair, count, increase, metrics_of


def length_classes(
    clips: Sequence[Clip],
    durations_ms: Sequence[int],
    whole: Sequence[str],
    short: Sequence[str],
) -> tuple[LengthClass, ...]:
    """Return what each class of recordings loses, of those that there are recordings of. whole,
    short: their transcripts by either encoder. Words count, and characters where a language has no
    spaces."""
    errors = [
        (_errors(clip, a), _errors(clip, b)) for clip, a, b in zip(clips, whole, short, strict=True)
    ]
    found = []
    for bound in BOUNDS_MS:
        of = [one for one, ms in zip(errors, durations_ms, strict=True) if class_of(ms) == bound]
        if any(units for (_, units), _ in of):
            found.append(_class(bound, of))
    return tuple(found)


_Errors = tuple[int, int]  # and the units of the reference


def _errors(clip: Clip, heard: str) -> _Errors:
    counts = count([Pair(clip.language, clip.text, heard)], metrics_of(clip.language)[0])
    return int(counts.errors[0]), int(counts.units[0])


def _class(bound: int, of: Sequence[tuple[_Errors, _Errors]]) -> LengthClass:
    whole, short = (
        Counts(np.array([one[0] for one in several]), np.array([one[1] for one in several]))
        for several in zip(*of, strict=True)
    )
    added = increase(whole, short)
    points, low, high = (round(100 * part, 2) for part in (added.value, added.low, added.high))
    return LengthClass(bound, points, low, high, len(of))
