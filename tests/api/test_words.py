"""Words with their times, over HTTP: who may ask for them, and where they come."""

from dataclasses import replace

import pytest

from tests.api.test_streaming import frames
from tests.api.test_transcriptions import error, post
from tests.sound import encode, tone

WAV = encode(tone(1))
REFUSED = (400, "invalid_value", "timestamp_granularities")


def asked(*granularities, response_format="verbose_json", **more):
    """The fields of a request for these granularities."""
    return {
        "timestamp_granularities[]": list(granularities),
        "response_format": response_format,
        **more,
    }


def translate(client, **fields):
    return client.post("/v1/audio/translations", files={"file": WAV}, data=fields)


@pytest.fixture
def without_times(transcriber):
    transcriber.capabilities = replace(transcriber.capabilities, word_times=False)


@pytest.fixture
def alone(transcriber):
    """A text that takes two cues."""
    transcriber.texts = [" " + "one two three four " * 6 + "over."]


@pytest.mark.parametrize("granularities", [["word"], ["segment", "word"]])
def test_words_come_beside_the_segments_whoever_asks(client, transcriber, granularities):
    transcriber.texts = [" Blue heron.", " Over."]
    body = post(client, **asked(*granularities)).json()
    assert body["words"] == [
        {"word": "Blue", "start": 0.0, "end": 0.45, "probability": 0.5},
        {"word": "heron.", "start": 0.45, "end": 0.9, "probability": 0.5},
        {"word": "Over.", "start": 1.0, "end": 1.9, "probability": 0.5},
    ]
    assert [one["text"] for one in body["segments"]] == [" Blue heron.", " Over."]
    assert "words" not in body["segments"][0]


@pytest.mark.parametrize("granularities", [[], ["segment"]])
def test_words_that_nobody_asks_for_are_neither_timed_nor_told(client, transcriber, granularities):
    assert "words" not in post(client, **asked(*granularities)).json()
    assert not transcriber.asked[0].words


def test_a_recording_without_speech_has_an_empty_list_of_words(client, transcriber):
    transcriber.texts = []
    assert post(client, **asked("word")).json()["words"] == []


def test_words_of_channels_say_whose_they_are(client):
    both = encode(tone(1), layout="stereo")
    body = post(client, both, **asked("word", channels="split")).json()
    told = [(one["word"], one["channel"]) for one in body["words"]]
    assert told == [("Mayday.", 0), ("Mayday.", 1)]


def test_a_stream_has_words_with_each_segment_and_all_at_the_end(url, transcriber):
    transcriber.texts = [" Mayday.", " Over."]
    events = frames(url, **asked("word"))
    told = [event["words"] for event in events if event["type"] == "transcript.text.segment"]
    assert [[one["word"] for one in words] for words in told] == [["Mayday."], ["Over."]]
    assert events[-1]["words"] == told[0] + told[1]


def test_a_stream_has_no_words_where_nobody_asks_for_them(url):
    assert not any("words" in event for event in frames(url, response_format="verbose_json"))


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_words_without_verbose_json_are_refused(client, response_format):
    answer = post(client, **asked("word", response_format=response_format))
    assert error(answer) == REFUSED
    assert "verbose_json" in answer.json()["error"]["message"]


@pytest.mark.usefixtures("without_times")
@pytest.mark.parametrize("response_format", ["verbose_json", "srt"])
def test_a_model_whose_words_have_no_times_is_named_where_they_are_asked_for(
    client, response_format
):
    answer = post(client, **asked("word", response_format=response_format))
    assert error(answer) == REFUSED
    assert "'mine'" in answer.json()["error"]["message"]


def test_words_of_a_translation_are_refused_and_its_segments_are_not(client):
    answer = translate(client, **asked("word"))
    assert error(answer) == REFUSED
    assert "translation" in answer.json()["error"]["message"]
    assert translate(client, **asked("segment")).json()["segments"]


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
@pytest.mark.parametrize("granularities", [[], ["segment"], ["word"]])
def test_subtitles_go_by_words_asked_for_or_not(
    client, transcriber, response_format, granularities
):
    assert post(client, **asked(*granularities, response_format=response_format)).is_success
    assert transcriber.asked[0].words


@pytest.mark.usefixtures("alone")
def test_a_cue_within_a_segment_begins_with_its_word(client):
    cues = post(client, response_format="srt").text.split("\n\n")[:-1]
    count = sum(len(cue.split("\n", 2)[2].split()) for cue in cues[:1])  # words before the second
    assert len(cues) == 2
    assert cues[1].splitlines()[1].startswith(f"00:00:00,{count * (900 // 25):03}")


@pytest.mark.usefixtures("alone", "without_times")
def test_subtitles_of_a_model_whose_words_have_no_times_are_shared_out(client, transcriber):
    assert post(client, response_format="srt").text.count(" --> ") == 2
    assert not transcriber.asked[0].words


def test_subtitles_of_a_translation_need_no_words(client, transcriber):
    assert translate(client, response_format="srt").is_success
    assert not transcriber.asked[0].words


@pytest.mark.parametrize("settings", [{"subtitle_cues": "segments"}])
@pytest.mark.parametrize(
    ("fields", "needed"),
    [({}, False), ({"max_line_width": "20"}, False),
     ({"max_line_width": "20", "max_line_count": "1"}, True)],
)  # fmt: skip
def test_subtitles_that_show_whole_segments_need_no_words(client, transcriber, fields, needed):
    assert post(client, response_format="srt", **fields).is_success
    assert transcriber.asked[0].words is needed
