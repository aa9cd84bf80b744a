"""A segment's times are those of the speech under it."""

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.base import Segment
from app.speech.stretches import Stretch
from app.speech.windows import Part, Window
from app.transcription.times import clipped

SECONDS = np.zeros(30 * SAMPLE_RATE, np.float32)


def window(*spoken):
    speech = tuple(Stretch(int(a * SAMPLE_RATE), int(b * SAMPLE_RATE)) for a, b in spoken)
    return Window((Part(0, to_pcm(SECONDS)),), speech)


@pytest.mark.parametrize(
    ("spoken", "told", "times"),
    [
        ([(20, 21)], (0, 20_500), (20_000, 20_500)),  # not over the silence before
        ([(1, 2)], (900, 8000), (1000, 2000)),  # nor over the one behind
        ([(1, 2), (3, 4)], (1000, 4000), (1000, 4000)),  # a pause within is the segment's
        ([(1, 2), (2.5, 4)], (1000, 2600), (1000, 2000)),  # what begins at its end is another's
        ([(1, 2), (2.5, 4)], (1900, 4000), (2500, 4000)),  # and so is what ends at its start
        ([(1, 2), (2.5, 4)], (1000, 3000), (1000, 2000)),  # though it begins late
        ([(1, 2), (2.5, 4)], (3000, 4000), (2500, 4000)),  # it begins with its speech then
        ([(1, 4)], (2000, 3000), (2000, 3000)),  # within speech the model knows better
        ([(1, 1.1)], (900, 1200), (1000, 1100)),  # a short word is held whole
        ([(1, 2), (2.1, 2.3)], (1000, 2300), (1000, 2300)),  # also behind a longer one
        ([(1, 3), (4, 8)], (1500, 5500), (1000, 5500)),  # of two it may hold a part each
        ([(1, 3), (4, 8)], (2000, 5500), (2000, 5500)),  # it begins too late to begin with it
        (
            [(1, 3), (4, 8)],
            (1000, 5000),
            (1000, 5000),
        ),  # 0.6 s is held, be it a third of it or less
        ([(0, 1.5), (1.7, 3)], (1000, 1800), (1000, 1500)),  # half of a short one is enough
        ([(0, 1.5), (1.7, 3)], (1200, 2000), (1700, 2000)),  # of two held little, it is the last's
        ([(1, 4)], (1600, 3000), (1000, 3000)),
        ([(1, 4)], (1601, 3000), (1601, 3000)),
        ([(1, 2)], (5000, 6000), (5000, 6000)),  # and what lies over none, stays where it is
    ],
)
def test_a_segment_begins_and_ends_with_the_speech_it_holds(spoken, told, times):
    segment = clipped(Segment(told[0], told[1], " text"), window(*spoken))
    assert (segment.start_ms, segment.end_ms) == times


def test_a_segment_does_not_begin_before_the_one_before_it_ends():
    segment = clipped(Segment(1400, 3000, " text"), window((1, 4)), earliest_ms=1300)
    assert (segment.start_ms, segment.end_ms) == (1300, 3000)


def test_where_nobody_looked_for_speech_times_are_the_models():
    segment = Segment(0, 20_500, " text")
    assert clipped(segment, Window.of(0, to_pcm(SECONDS))) is segment
