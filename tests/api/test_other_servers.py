"""Clients of other speech servers: Bazarr and what else knows whisper-asr-webservice, and those of
whisper.cpp's server."""

import httpx
import pytest

from app.models.base import Capabilities
from tests.api.test_transcriptions import error
from tests.sound import encode, tone
from tests.wild_clients import bazarr, bazarr_asr, raw, replay, whisper_cpp

WAV = encode(tone(1))
RAW = raw(tone(1))


def asr(client, content=WAV, path="/asr", **query):
    return client.post(path, params=query, files={"audio_file": ("a b.wav", content)})


def inference(client, content=WAV, **fields):
    return client.post("/inference", files={"file": ("a.wav", content)}, data=fields)


def test_bazarr_gets_its_subtitles_for_raw_sound(url, transcriber):
    answer = replay(url, bazarr_asr(RAW))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "1\n00:00:00,000 --> 00:00:01,000\nMayday.\n\n"
    (asked,) = transcriber.asked
    assert asked.languages == ("en",)
    assert asked.window.pcm.tobytes() == RAW


def test_bazarr_gets_a_translation_of_the_language_that_it_names(url, transcriber):
    answer = replay(url, bazarr_asr(RAW, "translate", "zh"))
    assert answer.status == 200
    assert transcriber.asked[0].translate
    assert transcriber.asked[0].languages == ("zh",)


def test_bazarr_gets_the_language_of_raw_sound(url, transcriber):
    answer = replay(url, bazarr("/detect-language?encode=false", RAW))
    assert answer.json() == {
        "detected_language": "english",
        "language_code": "en",
        "confidence": 1.0,
    }


def test_a_language_is_told_after_the_first_look_at_the_first_window(client, transcriber):
    transcriber.texts = [" Mayday."] * 9
    assert asr(client, encode(tone(5)), "/detect-language").status_code == 200
    assert len(transcriber.asked) == 1
    assert transcriber.told == 1
    assert transcriber.closed == 1


def test_a_checkpoint_of_one_language_is_sure_of_it(client, transcriber):
    transcriber.capabilities = Capabilities(frozenset({"en"}))
    assert asr(client, path="/detect-language").json()["confidence"] == 1.0


@pytest.mark.parametrize("settings", [{"vad": True}])
def test_where_nobody_speaks_no_language_is_believed(client, transcriber):
    told = asr(client, path="/detect-language").json()
    assert told["confidence"] == 0
    assert not transcriber.asked


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("txt", "Mayday.\nOver.\n"),
        ("tsv", "start\tend\ttext\n0\t900\tMayday.\n1000\t1900\tOver.\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nMayday.\n\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nMayday.\n\n"),
    ],
)
def test_every_format_of_that_server_is_plain_text_to_be_saved(client, transcriber, output, text):
    transcriber.texts = [" Mayday.", " Over."]
    answer = asr(client, output=output)
    assert answer.text.startswith(text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == f'attachment; filename="a%20b.wav.{output}"'


def test_its_json_is_openai_whispers_result_with_words_where_they_are_asked_for(client):
    told = asr(client, output="json").json()
    assert (told["language"], told["text"]) == ("en", "Mayday.")
    assert "words" not in told["segments"][0]
    told = asr(client, output="json", word_timestamps="true").json()
    assert told["segments"][0]["words"] == [
        {"word": " Mayday.", "start": 0.0, "end": 0.9, "probability": 0.5}
    ]


def test_words_are_left_out_where_the_model_gives_them_no_times(client, transcriber):
    transcriber.capabilities = Capabilities(frozenset({"en"}))
    told = asr(client, output="json", word_timestamps="true").json()
    assert "words" not in told["segments"][0]


def test_the_query_reaches_the_model(client, transcriber):
    asr(client, initial_prompt="Pan pan", language="zh", vad_filter="true", diarize="true")
    assert (transcriber.asked[0].prompt, transcriber.asked[0].languages) == ("Pan pan", ("zh",))


BAD = {
    "format": ({"output": "xml"}, WAV, (400, "invalid_value", "output")),
    "task": ({"task": "sing"}, WAV, (400, "invalid_value", "task")),
    "switch": ({"encode": "perhaps"}, WAV, (400, "invalid_value", "encode")),
    "language": ({"language": "klingon"}, WAV, (400, "invalid_value", "language")),
    "not audio": ({}, b"words, words " * 50, (415, "not_audio", "file")),
    "raw where a file is promised": ({}, RAW, (415, "not_audio", "file")),
    "no sound": ({"encode": "false"}, b"", (400, "audio_too_short", "file")),
    "hardly a sound": ({"encode": "false"}, RAW[:99], (400, "audio_too_short", "file")),
    "too long": ({"encode": "false"}, RAW * 11, (413, "audio_too_long", "file")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_in_the_envelope(client, name):
    query, content, expected = BAD[name]
    assert error(asr(client, content, **query)) == expected
    if "language" not in query and "output" not in query and "task" not in query:
        assert error(asr(client, content, "/detect-language", **query)) == expected


def test_a_missing_recording_is_named_as_that_server_names_it(client):
    for path in ("/asr", "/detect-language"):
        answer = client.post(path, files={"file": WAV})
        assert error(answer) == (400, "missing_required_parameter", "audio_file")
        answer = client.post(path, json={"input_audio": {"data": ""}})
        assert error(answer) == (400, "missing_required_parameter", "audio_file")


def test_half_a_sample_at_the_end_of_raw_sound_is_passed_over(client, transcriber):
    assert asr(client, RAW + b"x", encode="false").status_code == 200
    assert transcriber.asked[0].window.pcm.tobytes() == RAW


@pytest.mark.parametrize("path", ["/asr", "/detect-language", "/inference"])
@pytest.mark.parametrize(
    ("settings", "status"),
    [({"max_upload_bytes": 1000}, 413), ({"api_keys": "first"}, 401), ({}, 200)],
)
def test_they_are_admitted_bounded_and_counted_like_any_other(url, path, status):
    field = "file" if path == "/inference" else "audio_file"
    assert httpx.post(f"{url}{path}", files={field: WAV}).status_code == status
    counted = f'marlinscribe_requests_total{{method="POST",route="{path}",status="{status}"}} 1.0'
    assert counted in httpx.get(f"{url}/metrics").text


@pytest.mark.parametrize("path", ["/asr", "/detect-language", "/inference"])
def test_alerts_find_their_series_from_the_start(client, path):
    text = client.get("/metrics").text
    assert f'marlinscribe_requests_refused_total{{code="queue_full",route="{path}"}} 0.0' in text


def test_whisper_cpps_readme_gets_its_text(url, transcriber):
    transcriber.texts = [" Mayday.", " Over."]
    fields = {"temperature": "0.0", "temperature_inc": "0.2", "response_format": "json"}
    answer = replay(url, whisper_cpp(WAV, **fields))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"text": " Mayday.\n Over.\n"}


@pytest.mark.parametrize(
    ("wanted", "kind", "begins"),
    [
        ("text", "text/plain", " Mayday.\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> 00:00:01,000\nMayday."),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nMayday."),
    ],
)
def test_whisper_cpps_formats_are_of_their_own_kinds(client, wanted, kind, begins):
    answer = inference(client, response_format=wanted)
    assert answer.headers["content-type"].startswith(kind)
    assert answer.text.startswith(begins)


def test_whisper_cpps_verbose_segments_carry_their_words(client):
    body = inference(client, response_format="verbose_json").json()
    assert (body["task"], body["language"], body["text"]) == ("transcribe", "english", " Mayday.\n")
    (segment,) = body["segments"]
    assert segment["words"] == [{"word": " Mayday.", "start": 0.0, "end": 0.9, "probability": 0.5}]
    assert (segment["start"], segment["end"], segment["tokens"]) == (0.0, 0.9, [5])


@pytest.mark.parametrize("switch", [{"no_timestamps": "true"}, {"token_timestamps": "false"}])
def test_words_that_nobody_wants_are_not_timed(client, transcriber, switch):
    (segment,) = inference(client, response_format="verbose_json", **switch).json()["segments"]
    assert segment["words"] == []
    assert ("start" in segment) is ("no_timestamps" not in switch)
    assert not transcriber.asked[0].words


def test_whisper_cpps_fields_reach_the_model(client, transcriber):
    inference(client, language="zh", prompt="Pan pan", temperature="0.4", translate="true")
    asked = transcriber.asked[0]
    assert (asked.languages, asked.prompt) == (("zh",), "Pan pan")
    assert (asked.temperature, asked.translate) == (0.4, True)
    inference(client, language="zh", detect_language="true", beam_size="5", best_of="2")
    assert transcriber.asked[1].languages == ()


@pytest.mark.parametrize("field", ["offset_t", "duration"])
def test_a_part_of_a_recording_is_refused_and_not_answered_with_the_whole(client, field):
    assert inference(client, **{field: "0"}).status_code == 200
    assert error(inference(client, **{field: "500"})) == (400, "invalid_value", field)
