"""One window: nothing said is lost, silence stays silent, segments leave as they close."""

from dataclasses import replace

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE, to_pcm
from app.models.base import DecodeRequest
from app.speech.windows import Window
from app.transcription.windows import Pass, decode_window
from tests.sound import silence, tone
from tests.transcription.fakes import TS, FakeDecoder, T, loaded, said, sentence

pytestmark = pytest.mark.anyio

WINDOW = Window.of(5 * SAMPLE_RATE, to_pcm(np.zeros(10 * SAMPLE_RATE, np.float32)))
PROMPT = "w1 w2"
PROMPTED = (T.start_of_previous, 1, 2, T.start)


def decoded(decoder, window=WINDOW, prompt=""):
    request = DecodeRequest(window, prompt=prompt)
    return decode_window(loaded(decoder).decoder, request, lambda: None)


async def hear(*answers, prompt="", window=WINDOW):
    """Segments told, the passes, and what the engine was asked."""
    decoder = FakeDecoder(lambda number: answers[number])
    events, passes = [], []
    async for event in decoded(decoder, window, prompt):
        (passes if isinstance(event, Pass) else events).append(event)
    return events, passes, decoder.asks


def told(passes):
    return [replace(segment, figures=None) for one in passes for segment in one.segments]


def plain(events):
    return [replace(event, figures=None) for event in events]


def words(events):
    return "".join(event.text for event in events)


async def test_a_segment_leaves_before_the_steps_behind_it():
    told = []

    class Watching(FakeDecoder):
        async def decode(self, ask, max_tokens=None):
            async for step in super().decode(ask):
                told.append(len(seen))
                yield step

    seen = []
    watching = Watching(lambda n: said(TS, 1, TS + 5, TS + 5, 2, TS + 9))
    async for event in decoded(watching):
        seen.append(event)
    # steps: detection, <0>, w1, <5>, <5>, w2, <9>, end: the first segment left behind the <5>
    assert told == [0, 0, 0, 0, 1, 1, 1, 2]


async def test_figures_are_the_windows():
    _, (heard,), _ = await hear(said(TS, 1, 2, TS + 50, logprob=-0.2, no_speech=0.03))
    (segment,) = heard.segments
    assert segment.figures.avg_logprob == pytest.approx(-0.2)
    assert segment.figures.no_speech_prob == 0.03
    assert segment.figures.start_ms == 5000
    assert segment.figures.compression_ratio > 0


async def test_what_the_model_calls_silence_and_is_unsure_of_is_never_told():
    events, (heard,), _ = await hear(sentence(0, no_speech=0.9, logprob=-1.5))
    assert (events, heard.segments) == ([], ())


async def test_sure_words_are_told_even_where_silence_is_likely():
    events, _, _ = await hear(sentence(0, no_speech=0.9))
    assert words(events) == " w10"


async def test_where_there_is_no_more_room_a_second_pass_goes_on_behind_the_last_segment():
    first = said(TS, 1, TS + 200, TS + 200, 2, ended="limit")  # closed at 4 s; " w2" is unsure
    events, heard, asks = await hear(first, said(TS, 2, 3, TS + 100))
    assert words(events) == " w1 w2 w3"
    assert [(e.start_ms, e.end_ms) for e in events] == [(5000, 9000), (9000, 11000)]
    assert [ask.window.start_ms for ask in asks] == [5000, 9000]
    assert [len(h.segments) for h in heard] == [1, 1]


async def test_a_prompt_that_takes_the_room_is_left_out_of_the_second_pass():
    events, _, asks = await hear(said(TS, 1, ended="limit"), sentence(0), prompt=PROMPT)
    assert [ask.prompt for ask in asks] == [PROMPTED, (T.start,)]
    assert (asks[1].window.start_ms, asks[1].window.duration_ms) == (5000, 10_000)
    assert words(events) == " w10"


async def test_a_window_that_never_closes_a_segment_keeps_its_words(caplog):
    events, _, asks = await hear(said(TS, 1, 2, ended="limit"))
    assert words(events) == " w1 w2"
    assert len(asks) == 1
    assert "limit" in caplog.text


async def test_a_loop_does_not_go_on_for_ever():
    def looping(number):
        return said(TS, number, TS + 10, TS + 10, 99, ended="limit")

    events, _, asks = await hear(*(looping(n) for n in range(99)))
    assert len(asks) == 12
    assert words(events).endswith(" w99")  # the last pass keeps its tail


async def test_a_limit_at_the_windows_very_end_needs_no_further_pass():
    events, _, asks = await hear(said(TS, 1, TS + 490, ended="limit"))
    assert (words(events), len(asks)) == (" w1", 1)


SPOKEN = Window.of(0, to_pcm(np.concatenate([tone(4), silence(1), tone(3)])))  # sound up to 8 s


async def test_a_prompted_decoder_that_ends_early_is_not_believed():
    early = said(TS, 1, TS + 200)
    events, _, asks = await hear(early, said(TS, 2, TS + 200), prompt=PROMPT, window=SPOKEN)
    assert words(events) == " w1 w2"
    assert [ask.prompt for ask in asks] == [PROMPTED, (T.start,)]
    assert asks[1].window.start_ms == 4000


async def test_a_prompted_decoder_that_hears_nothing_is_asked_again_without():
    events, _, asks = await hear(said(TS), sentence(0), prompt=PROMPT, window=SPOKEN)
    assert (words(events), len(asks)) == (" w10", 2)


@pytest.mark.parametrize(
    ("steps", "prompt", "window"),
    [
        (said(TS, 1, TS + 200), "", SPOKEN),  # not prompted: its own judgement
        (said(TS, 1, TS + 399), PROMPT, SPOKEN),  # told up to the end of the sound
        (said(TS, 1, TS + 200, TS + 250, 2), PROMPT, SPOKEN),  # open: told up to the end
        (said(TS), PROMPT, Window.of(0, to_pcm(silence(5)))),
        (said(TS, 1, no_speech=0.9, logprob=-1.5), PROMPT, Window.of(0, to_pcm(silence(5)))),
        (said(TS, 1, no_speech=0.9, logprob=-1.5), "", SPOKEN),
    ],
)
async def test_otherwise_its_end_is_the_end(steps, prompt, window):
    _, _, asks = await hear(steps, prompt=prompt, window=window)
    assert len(asks) == 1


SILENT = said(TS, 1, TS + 200, no_speech=0.9, logprob=-1.5)


async def test_silence_behind_a_prompt_is_not_believed_either_where_something_sounds():
    events, _, asks = await hear(SILENT, sentence(0), prompt=PROMPT, window=SPOKEN)
    assert (words(events), len(asks)) == (" w10", 2)


@pytest.mark.parametrize("second", [SILENT, said()])
async def test_what_was_begun_is_told_where_a_second_pass_says_nothing(second):
    first = said(TS, 1, TS + 200, TS + 200, 2, 3, ended="limit")
    events, heard, _ = await hear(first, second)
    assert words(events) == " w1 w2 w3"
    assert told(heard) == plain(events)


LOOP = (TS, *[7] * 60, TS + 300)


@pytest.mark.parametrize(
    "first",
    [
        said(TS, 1, TS + 100, TS + 100, *LOOP[1:], TS + 300, 9, TS + 400),
        said(TS, 1, TS + 100, TS + 100, *LOOP[1:-1]),  # open at its end
        said(TS, 1, TS + 100, TS + 100, *LOOP[1:-1], ended="limit"),
    ],
)
async def test_a_prompted_decoder_that_repeats_itself_is_left_at_the_first_repetition(first):
    events, heard, asks = await hear(first, said(TS, 2, TS + 200), prompt=PROMPT, window=SPOKEN)
    assert words(events) == " w1 w2"
    assert [ask.window.start_ms for ask in asks] == [0, 2000]
    assert told(heard) == plain(events)


async def test_without_a_prompt_repetition_is_what_was_said():
    events, _, asks = await hear(said(TS, *[7] * 20, TS + 300), window=SPOKEN)
    assert (words(events), len(asks)) == (" w7" * 20, 1)


TOO_MUCH = [7] * 200  # " w7" for 8 s: nobody says 25 a second


async def test_what_nobody_could_say_in_the_time_is_decoded_in_halves():
    answers = said(TS, *TOO_MUCH), sentence(0), sentence(1)
    events, _, asks = await hear(*answers, window=SPOKEN)
    assert words(events) == " w10 w11"
    assert [ask.window.start_ms for ask in asks] == [0, 0, 4850]  # cut in the silence from 4 s on


async def test_what_is_short_is_decoded_at_higher_temperatures():
    short = Window.of(0, to_pcm(tone(7)))
    answers = said(TS, *TOO_MUCH), said(TS, *[7] * 60, ended="limit"), sentence(0)
    events, _, asks = await hear(*answers, window=short)
    assert (words(events), [ask.temperature for ask in asks]) == (" w10", [0, 0.2, 0.4])


async def test_a_loop_is_left_while_it_goes_on():
    loop = said(TS, *TOO_MUCH)
    steps = []

    class Watching(FakeDecoder):
        async def decode(self, ask, max_tokens=None):
            async for step in super().decode(ask):
                steps.append(step)
                yield step

    decoder = Watching(lambda number: loop if number == 0 else sentence(0))
    async for _ in decoded(decoder, SPOKEN):
        pass
    assert len(steps) < len(loop)


async def test_behind_what_closed_before_the_loop_it_is_decoded_afresh():
    first = said(TS, 1, TS + 100, TS + 100, *TOO_MUCH)
    events, _, asks = await hear(first, said(TS, 2, TS + 200), window=SPOKEN)
    assert words(events) == " w1 w2"
    assert [(ask.window.start_ms, ask.temperature) for ask in asks] == [(0, 0), (2000, 0)]


async def test_what_nothing_helps_against_is_told_once(caplog):
    short = Window.of(0, to_pcm(tone(7)))
    events, (*_, last), asks = await hear(*[said(TS, 1, *TOO_MUCH)] * 9, window=short)
    assert words(events) == " w1 w7"
    assert [ask.temperature for ask in asks] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert last.verdict.looped


async def test_whoever_asks_for_a_temperature_gets_that_one():
    request = DecodeRequest(Window.of(0, to_pcm(tone(7))), temperature=0.3, fallback=False)
    decoder = FakeDecoder(lambda number: said(TS, 1, *TOO_MUCH))
    async for _ in decode_window(loaded(decoder).decoder, request, lambda: None):
        pass
    assert [ask.temperature for ask in decoder.asks] == [0.3]


async def hear_words(*answers, window=WINDOW):
    """Segments told of a request that asks for words."""
    decoder = FakeDecoder(lambda number: answers[number])
    request = DecodeRequest(window, words=True)
    events = decode_window(loaded(decoder).decoder, request, lambda: None)
    return [event async for event in events if not isinstance(event, Pass)]


def spelt(segments):
    return [[word.text for word in segment.words] for segment in segments]


async def test_segments_carry_their_words_where_they_are_asked_for():
    told = await hear_words(said(TS, 1, 2, TS + 100, TS + 100, 3, TS + 200))
    assert spelt(told) == [[" w1", " w2"], [" w3"]]
    assert all(5000 <= word.start_ms <= word.end_ms <= 15000 for s in told for word in s.words)


async def test_each_pass_over_a_window_has_its_own_words():
    told = await hear_words(
        said(TS, 1, TS + 200, TS + 200, 2, ended="limit"), said(TS, 2, 3, TS + 100)
    )
    assert spelt(told) == [[" w1"], [" w2", " w3"]]
    assert told[1].words[0].start_ms >= 9000


async def test_text_that_a_pass_had_begun_keeps_its_words_where_the_next_finds_nothing():
    told = await hear_words(said(TS, 1, TS + 200, TS + 200, 2, ended="limit"), said())
    assert spelt(told) == [[" w1"], [" w2"]]


async def test_words_wait_for_their_windows_end():
    class Watching(FakeDecoder):
        async def attention(self, ask, count):
            counts.append(count)
            return await super().attention(ask, count)

    counts = []
    decoder = Watching(lambda number: said(TS, 1, TS + 50, TS + 50, 2, TS + 90))
    request = DecodeRequest(WINDOW, words=True)
    _ = [e async for e in decode_window(loaded(decoder).decoder, request, lambda: None)]
    assert counts == [7]  # all six tokens and the end of the text
