"""POST /v1/audio/transcriptions, its answers and its errors."""

import asyncio
import io

import pytest

from app.api.disconnect import ClientLeft, unless_client_leaves
from app.errors import EngineDied
from app.models.base import Capabilities
from app.serving.lifecycle import Stage
from tests.sound import encode, tone

WAV = encode(tone(1))


def post(client, content=WAV, name="a.wav", **fields):
    return client.post("/v1/audio/transcriptions", files={"file": (name, content)}, data=fields)


def error(answer):
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return answer.status_code, body["error"]["code"], body["error"]["param"]


def test_json_is_the_default(client):
    answer = post(client)
    assert answer.status_code == 200
    assert answer.json() == {"text": "Mayday.", "usage": {"type": "duration", "seconds": 1.0}}


def test_text_is_plain(client):
    answer = post(client, response_format="text")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "Mayday.\n"


def test_verbose_json_has_segments(client):
    body = post(client, response_format="verbose_json").json()
    assert body["language"] == "english"
    assert body["segments"][0]["end"] == 0.9


@pytest.mark.parametrize(
    ("response_format", "media", "begins"),
    [("srt", "text/plain", "1\n00:00:00,000 --> 00:00:01,000\nMayday."),
     ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nMayday.")],
)  # fmt: skip
def test_subtitles_are_text(client, response_format, media, begins):
    answer = post(client, response_format=response_format)
    assert answer.headers["content-type"].startswith(media)
    assert answer.text.startswith(begins)


def test_subtitles_take_a_layout(client, transcriber):
    transcriber.texts = [" one two three four"]
    answer = post(client, response_format="srt", max_line_width="9", max_line_count="1")
    assert "one two\n\n2\n" in answer.text


def test_logprobs_come_with_json_when_asked_for(client):
    (one,) = post(client, **{"include[]": "logprobs"}).json()["logprobs"]
    assert one == {"token": " Mayday.", "logprob": -0.5, "bytes": list(b" Mayday.")}


def test_fields_reach_the_transcriber(client, transcriber):
    post(client, prompt="Pan pan", temperature="0.5", **{"keywords[]": ["Heron", "Owl"]})
    options = transcriber.asked[0]
    assert (options.prompt, options.temperature) == ("Pan pan", 0.5)
    assert options.keywords == ("Heron", "Owl")
    assert not options.translate


def test_several_languages_may_be_named(client, transcriber):
    post(client, **{"languages[]": ["en", "zh-TW", "english"]})
    assert transcriber.asked[0].languages == ("en", "zh")
    assert error(post(client, **{"languages[]": ["en", "fr"]})) == (
        400, "invalid_value", "languages",
    )  # fmt: skip


def test_a_translation_is_asked_for_and_told(client, transcriber):
    answer = client.post(
        "/v1/audio/translations", files={"file": WAV}, data={"response_format": "verbose_json"}
    )
    assert transcriber.asked[0].translate
    assert (answer.json()["task"], answer.json()["language"]) == ("translate", "english")


@pytest.mark.parametrize(("asked", "code"), [("zh", "zh"), ("zh-TW", "zh"), ("English", "en")])
def test_the_language_reaches_the_transcriber_as_a_code(client, transcriber, asked, code):
    assert post(client, language=asked).status_code == 200
    assert transcriber.asked[0].languages == (code,)


@pytest.mark.parametrize("asked", [{"language": "auto"}, {"languages[]": ["auto", "en"]}])
def test_a_language_left_open_is_the_models_to_find(client, transcriber, asked):
    assert post(client, **asked).status_code == 200
    assert transcriber.asked[0].languages == ()


def test_an_english_only_checkpoint_knows_english_alone(client, transcriber):
    transcriber.capabilities = Capabilities(frozenset({"en"}))
    assert post(client, language="en").status_code == 200
    assert error(post(client, language="zh")) == (400, "invalid_value", "language")


def test_channels_are_told_apart_where_that_is_asked_for(client):
    both = encode(tone(1), layout="stereo")
    body = post(client, both, response_format="verbose_json", channels="split").json()
    assert [one["channel"] for one in body["segments"]] == [0, 1]
    assert body["text"] == "Mayday. Mayday."
    body = post(client, both, response_format="verbose_json").json()
    assert [one.get("channel") for one in body["segments"]] == [None]


def test_a_track_that_is_not_there_is_named(client):
    assert error(post(client, audio_track="1")) == (400, "invalid_value", "audio_track")


def test_unknown_fields_are_ignored(client):
    assert post(client, something="else").status_code == 200


BAD_FIELDS = {
    "no language": ({"language": "klingon"}, (400, "invalid_value", "language")),
    "unknown to the checkpoint": ({"language": "fr"}, (400, "invalid_value", "language")),
    "unknown format": ({"response_format": "xml"}, (400, "invalid_value", "response_format")),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_bad_field_is_named(client, name):
    fields, expected = BAD_FIELDS[name]
    assert error(post(client, **fields)) == expected


BAD_FILES = {
    "empty": (b"", (400, "audio_too_short", "file")),
    "text": (b"words, words " * 50, (415, "not_audio", "file")),
    "too long": (encode(tone(11)), (413, "audio_too_long", "file")),
    "no length": (encode(tone(0.01)), (400, "audio_too_short", "file")),
    "header alone": (WAV[:40], (400, "undecodable_audio", "file")),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_its_status_and_the_next_request_works(client, name):
    content, expected = BAD_FILES[name]
    assert error(post(client, content)) == expected
    assert post(client).status_code == 200


def test_a_missing_file_is_named(client):
    answer = client.post("/v1/audio/transcriptions", data={"model": "mine"})
    assert error(answer) == (400, "missing_required_parameter", "file")


def test_a_file_sent_as_text_is_named(client):
    answer = client.post("/v1/audio/transcriptions", files={"file": (None, "a.wav")})
    assert error(answer) == (400, "invalid_value", "file")
    assert "uploaded file" in answer.json()["error"]["message"]


def test_a_body_that_is_not_multipart_is_refused(client):
    answer = client.post(
        "/v1/audio/transcriptions",
        content=b"garbage",
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert error(answer)[0] == 400


def test_while_starting_the_answer_is_503_with_how_long_to_wait(client, context):
    context.state.default.model = None
    context.state.default.lifecycle.enter(Stage.QUANTIZING, eta_seconds=42.0)
    answer = post(client)
    assert error(answer) == (503, "not_ready", None)
    assert answer.headers["retry-after"] == "42"


def test_an_engine_that_dies_under_a_request_is_503(client, transcriber):
    transcriber.error = EngineDied("The engine stopped.")
    answer = post(client)
    assert error(answer) == (503, "engine_died", None)
    assert answer.headers["retry-after"]


def test_a_defect_is_500_in_the_envelope_without_a_traceback(client, transcriber):
    transcriber.error = RuntimeError("secret path /etc")
    answer = post(client)
    assert error(answer) == (500, "internal_error", None)
    assert "secret" not in answer.text


def test_unknown_paths_and_methods_answer_in_the_envelope(client):
    assert error(client.get("/v1/nothing"))[:2] == (404, "not_found")
    assert error(client.put("/v1/audio/transcriptions"))[:2] == (405, "method_not_allowed")


def test_the_clients_request_id_comes_back(client):
    answer = client.get("/health/live", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"


def test_a_request_id_that_could_break_a_log_is_replaced(client):
    answer = client.get("/health/live", headers={"x-request-id": "a b\tc"})
    assert answer.headers["x-request-id"].startswith("req_")


class FakeClient:
    """Leaves when told to."""

    def __init__(self):
        self.leave = asyncio.Event()

    async def receive(self):
        await self.leave.wait()
        return {"type": "http.disconnect"}


@pytest.mark.anyio
async def test_work_is_cancelled_when_the_client_leaves():
    client, cancelled = FakeClient(), asyncio.Event()

    async def work():
        try:
            client.leave.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientLeft):
        await unless_client_leaves(client.receive, work())
    assert cancelled.is_set()


@pytest.mark.anyio
async def test_work_that_ends_first_gives_its_result_or_its_error():
    async def fails():
        raise ValueError("so")

    assert await unless_client_leaves(FakeClient().receive, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="so"):
        await unless_client_leaves(FakeClient().receive, fails())


def test_the_generator_is_closed_after_the_answer(client, transcriber):
    post(client)
    assert transcriber.closed == 1


def test_uploads_are_read_from_where_they_begin(client):
    big = encode(tone(9), rate=48_000)
    assert len(big) > 800_000
    assert post(client, io.BytesIO(big)).status_code == 200
