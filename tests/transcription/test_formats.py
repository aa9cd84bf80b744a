"""Bodies and events, field by field as OpenAI's clients parse them."""

from dataclasses import replace

from app.models.base import Segment, TokenLogprob, WindowFigures, Word
from app.transcription.coverage import Coverage, DroppedSpeech
from app.transcription.formats import (
    delta_event,
    done_event,
    json_body,
    segment_event,
    text_body,
    verbose_body,
    verbose_done_event,
)
from app.transcription.results import Transcript

SPOKEN = Segment(
    30_120, 32_400, " 鷺.", (5, 6), (TokenLogprob(b" \xe9\xb7", -0.5), TokenLogprob(b"\xba.", -1.0))
)
SEGMENT = replace(SPOKEN, figures=WindowFigures(30_000, 0.2, -0.25, 1.1, 0.01))
TRANSCRIPT = Transcript("zh", 33.0004, "鷺.", (SEGMENT,))
USAGE = {"type": "duration", "seconds": 33.0}
LOGPROBS = [
    {"token": " \ufffd", "logprob": -0.5, "bytes": [32, 0xE9, 0xB7]},
    {"token": "\ufffd.", "logprob": -1.0, "bytes": [0xBA, 46]},
]


def test_json_carries_text_and_usage():
    assert json_body(TRANSCRIPT) == {"text": "鷺.", "usage": USAGE}


def test_json_carries_each_tokens_logprob_and_exact_bytes_where_asked():
    body = json_body(TRANSCRIPT, logprobs=True)
    assert body["logprobs"] == LOGPROBS
    assert b"".join(bytes(one["bytes"]) for one in body["logprobs"]).decode() == " 鷺."


def test_text_is_a_line():
    assert text_body(TRANSCRIPT) == "鷺.\n"


def test_verbose_json_names_the_language_and_carries_every_segment_field():
    body = verbose_body(TRANSCRIPT)
    assert (body["language"], body["duration"], body["task"]) == ("chinese", 33.0, "transcribe")
    assert body["usage"] == USAGE
    assert body["segments"] == [
        {
            "id": 0,
            "seek": 3000,
            "start": 30.12,
            "end": 32.4,
            "text": " 鷺.",
            "tokens": [5, 6],
            "temperature": 0.2,
            "avg_logprob": -0.25,
            "compression_ratio": 1.1,
            "no_speech_prob": 0.01,
        }
    ]


def test_a_translation_is_english_whatever_was_spoken():
    body = verbose_body(Transcript("zh", 1.0, "Heron.", (), translated=True))
    assert "coverage" not in body
    assert (body["language"], body["task"]) == ("english", "translate")


def test_events_are_openais():
    assert delta_event("鷺.", SPOKEN) == {"type": "transcript.text.delta", "delta": "鷺."}
    assert delta_event("鷺.", SPOKEN, logprobs=True)["logprobs"] == LOGPROBS
    assert segment_event(3, SPOKEN) == {
        "type": "transcript.text.segment",
        "id": "seg_3",
        "start": 30.12,
        "end": 32.4,
        "text": " 鷺.",
        "speaker": "",
    }
    assert done_event(TRANSCRIPT) == {
        "type": "transcript.text.done", "text": "鷺.", "usage": USAGE,
    }  # fmt: skip
    assert done_event(TRANSCRIPT, logprobs=True)["logprobs"] == LOGPROBS
    assert verbose_done_event(TRANSCRIPT) == {
        "type": "transcript.text.done", **verbose_body(TRANSCRIPT),
    }  # fmt: skip


WORDED = Segment(
    0, 900, " Blue heron, over", words=(
        Word(0, 400, " Blue", 0.987654), Word(450, 700, " heron,", 1.0), Word(700, 900, " over"),
    ),
)  # fmt: skip
WORDS = [
    {"word": "Blue", "start": 0.0, "end": 0.4, "probability": 0.9877},
    {"word": "heron,", "start": 0.45, "end": 0.7, "probability": 1.0},
    {"word": "over", "start": 0.7, "end": 0.9},
]


def test_words_are_told_in_seconds_without_their_spaces_where_they_are_asked_for():
    said = Transcript("en", 1.0, "Blue heron, over", (WORDED,))
    body = verbose_body(said, words=True)
    assert body["words"] == verbose_done_event(said, words=True)["words"] == WORDS
    assert body["segments"][0].keys() == verbose_body(said)["segments"][0].keys()
    assert segment_event(0, WORDED, words=True)["words"] == WORDS
    assert "words" not in verbose_body(said)
    assert "words" not in segment_event(0, WORDED)


def test_of_a_silent_recording_there_are_no_words_rather_than_no_list():
    assert verbose_body(Transcript("en", 1.0, "", ()), words=True)["words"] == []


def test_words_of_channels_are_told_by_when_they_start_each_with_its_channel():
    other = Segment(100, 500, " Yes.", words=(Word(100, 500, " Yes."),), channel=1)
    said = Transcript("en", 1.0, "", (replace(WORDED, channel=0), other))
    told = [(one["word"], one["channel"]) for one in verbose_body(said, words=True)["words"]]
    assert told == [("Blue", 0), ("Yes.", 1), ("heron,", 0), ("over", 0)]


def test_words_of_one_channel_stay_in_the_order_of_the_text():
    first, then = Word(0, 500, " a"), Word(510, 900, " b")
    late = Segment(0, 900, " a b", words=(first, then))
    early = Segment(505, 950, " c", words=(Word(505, 950, " c"),))
    body = verbose_body(Transcript("en", 1.0, "a b c", (late, early)), words=True)
    assert [one["word"] for one in body["words"]] == ["a", "b", "c"]


def test_a_word_of_nothing_but_a_space_is_none():
    said = Segment(0, 900, " a ", words=(Word(0, 400, " a"), Word(400, 900, " ")))
    body = verbose_body(Transcript("en", 1.0, "a", (said,)), words=True)
    assert [one["word"] for one in body["words"]] == ["a"]


def test_verbose_json_says_what_became_of_the_speech():
    dropped = (DroppedSpeech(1000, 2500, "no_speech"),)
    body = verbose_body(Transcript("en", 9.0, "Heron.", (), coverage=Coverage(4000, 1500, dropped)))
    assert body["coverage"] == {
        "speech": 4.0,
        "decoded_again": 1.5,
        "dropped": [{"start": 1.0, "end": 2.5, "reason": "no_speech"}],
    }
