"""A recording in a JSON body, in base64."""

import base64
import json
import tracemalloc
from contextlib import AsyncExitStack

import httpx
import pytest

from app.api.json_upload import read_json
from app.errors import BadField
from tests.api.test_transcriptions import error
from tests.sound import encode, tone
from tests.wild_clients import (
    dotnet_json,
    javascript_json,
    json_request,
    openrouter_json,
    php_json,
    replay,
)

# Noise has every letter of the alphabet in its base64, a plus and a slash among them.
WAV = encode(tone(1), "wav", "pcm_s16le", 8000)
DATA = base64.b64encode(WAV).decode()
PATH = "/v1/audio/transcriptions"


def post(client, body, path=PATH):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"content-type": "application/json"})


def sent(data=DATA, **fields):
    return {"input_audio": {"data": data, "format": "wav"}} | fields


async def read(*chunks):
    """The fields, and the recording."""

    async def coming():
        for chunk in chunks:
            yield chunk

    async with AsyncExitStack() as held:
        fields, file = await read_json(coming(), held)
        return fields, file.read()


@pytest.mark.parametrize("body", [openrouter_json, javascript_json, php_json, dotnet_json])
def test_a_recording_in_json_is_heard_whoever_wrote_it(url, transcriber, body):
    assert b"+" in base64.b64encode(WAV)
    assert b"/" in base64.b64encode(WAV)
    answer = replay(url, json_request(body(WAV)))
    assert answer.json()["text"] == "Mayday."
    assert answer.json()["usage"]["seconds"] == 1.0


def test_fields_in_json_mean_what_they_mean_in_a_form(client, transcriber):
    body = post(
        client,
        sent(
            model="mine", language="zh", prompt="Pan pan", temperature=0.5,
            response_format="verbose_json", timestamp_granularities=["word"], stream=False,
            keywords=["Heron"],
        ),
    ).json()  # fmt: skip
    asked = transcriber.asked[0]
    assert (asked.languages, asked.prompt) == (("zh",), "Pan pan")
    assert (asked.temperature, asked.keywords) == (0.5, ("Heron",))
    assert body["language"] == "chinese"


def test_words_and_streams_are_asked_for_in_json_too(client):
    body = post(
        client, sent(response_format="verbose_json", timestamp_granularities=["word"])
    ).json()
    assert [one["word"] for one in body["words"]] == ["Mayday."]
    assert post(client, sent(stream=True)).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("strategy", ["auto", {"type": "server_vad", "threshold": 0.3}])
def test_what_counts_as_speech_is_told_in_json_too(client, strategy):
    assert post(client, sent(chunking_strategy=strategy)).status_code == 200
    bad = sent(chunking_strategy={"type": "server_vad", "threshold": "0.3"})
    assert error(post(client, bad)) == (400, "invalid_value", "chunking_strategy")


def test_null_and_empty_fields_count_as_left_out(client, transcriber):
    answer = post(client, sent(language=None, prompt="", stream=None, temperature=None))
    assert answer.status_code == 200
    assert transcriber.asked[0].prompt == ""


def test_a_translation_is_asked_for_in_json_too(client, transcriber):
    assert post(client, sent(), "/v1/audio/translations").status_code == 200
    assert transcriber.asked[0].translate


BAD = {
    "no json": (b"{", (400, "invalid_body", None)),
    "no text": (b'{"\xff": 1}', (400, "invalid_body", None)),
    "no object": (b"[1]", (400, "invalid_body", None)),
    "no number": (b'{"temperature": NaN}', (400, "invalid_body", None)),
    "half a character": (b'{"prompt": "\\ud800"}', (400, "invalid_body", None)),
    "nested deep": (b"[" * 100_000, (400, "invalid_body", None)),
    "nested as deep as can be read": (
        sent(other=json.loads("[" * 500 + "]" * 500)), (400, "invalid_body", None),
    ),
    "much else": (sent(prompt="x" * 2**20), (400, "invalid_body", None)),
    "nothing": (b"{}", (400, "missing_required_parameter", "input_audio")),
    "no recording": ({"input_audio": {}}, (400, "invalid_value", "input_audio")),
    "a text": ({"input_audio": DATA}, (400, "invalid_value", "input_audio")),
    "a list": ({"input_audio": [DATA]}, (400, "invalid_value", "input_audio")),
    "no text in data": (sent(data=5), (400, "invalid_value", "input_audio")),
    "elsewhere": ({"other": {"data": DATA}}, (400, "missing_required_parameter", "input_audio")),
    "bad letters": (sent(data="a!bc"), (400, "invalid_value", "input_audio")),
    "bad length": (sent(data=DATA + "A"), (400, "invalid_value", "input_audio")),
    "one letter": (sent(data="A"), (400, "invalid_value", "input_audio")),
    "bad escape": (
        b'{"input_audio": {"data": "a\\qbc"}}', (400, "invalid_value", "input_audio"),
    ),
    "half an escape": (
        b'{"input_audio": {"data": "ab\\"}}', (400, "invalid_value", "input_audio"),
    ),
    "quotation marks": (sent(data='ab"cd'), (400, "invalid_value", "input_audio")),
    "more behind its end": (sent(data="YWI=" * 3), (400, "invalid_value", "input_audio")),
    "a web address": (sent(data="data:" + "x" * 999), (400, "invalid_value", "input_audio")),
    "twice": (
        f'{{"input_audio":{{"data":"{DATA}"}},"input_audio":{{"data":"{DATA}"}}}}'.encode(),
        (400, "invalid_value", "input_audio"),
    ),
    "an odd format": (
        {"input_audio": {"format": 5, "data": DATA}}, (400, "invalid_value", "input_audio"),
    ),
    "empty": (sent(data=""), (400, "audio_too_short", "file")),
    "not audio": (sent(data="d29yZHMg" * 50), (415, "not_audio", "file")),
    "a number as text": (sent(temperature="0.5"), (400, "invalid_value", "temperature")),
    "a text as number": (sent(language=5), (400, "invalid_value", "language")),
    "no list": (sent(include="logprobs"), (400, "invalid_value", "include")),
    "fields together": (sent(include=["logprobs"], response_format="srt"),
                        (400, "invalid_value", "include")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_body_is_told_and_the_next_is_answered(client, name):
    body, expected = BAD[name]
    assert error(post(client, body)) == expected
    assert post(client, sent()).status_code == 200


@pytest.mark.parametrize("value", [5, None, "word", {"word": 1}, ["word"]])
def test_words_of_a_translation_are_refused_whatever_they_are_asked_by(client, value):
    answer = post(client, sent(timestamp_granularities=value), "/v1/audio/translations")
    assert answer.status_code == (200 if value is None else 400)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
async def test_a_body_may_come_in_pieces_of_any_size(size):
    whole = b'{"prompt": "\\"data\\": \\"x\\\\", "input_audio" : {"data":\n"'
    whole += php_json(WAV).split(b'"')[-6] + b'"}, "language": "en"}'
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    fields, recording = await read(*chunks)
    assert fields == {"prompt": '"data": "x\\', "language": "en"}
    assert recording == WAV


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [
        f"data:audio/wav;base64,{DATA}",
        DATA.rstrip("="),
        DATA.replace("+", "-").replace("/", "_"),
        "\r\n".join(DATA[at : at + 76] for at in range(0, len(DATA), 76)),
    ],
)
async def test_base64_comes_in_more_than_one_spelling(data):
    for size in (3, 1000, 10**6):
        body = json.dumps(sent(data)).encode()
        _, recording = await read(*(body[at : at + size] for at in range(0, len(body), size)))
        assert recording == WAV


@pytest.mark.anyio
async def test_of_a_large_recording_a_piece_is_held_at_a_time():
    piece = base64.b64encode(bytes(48 * 2**10))
    chunks = [b'{"input_audio": {"data": "', *[piece] * 400, b'"}}']
    tracemalloc.start()
    try:
        async with AsyncExitStack() as held:

            async def coming():
                for chunk in chunks:
                    yield chunk

            _, file = await read_json(coming(), held)
            _, most = tracemalloc.get_traced_memory()
            assert file.seek(0, 2) == 400 * 48 * 2**10
    finally:
        tracemalloc.stop()
    assert most < 4 * 2**20


@pytest.mark.anyio
async def test_ten_thousand_empty_recordings_are_told_at_the_second():
    body = b'{"input_audio":{' + b'"data":"",' * 10_000
    with pytest.raises(BadField):
        await read(body)


@pytest.mark.parametrize("settings", [{"max_upload_bytes": 1000}])
def test_a_body_in_json_is_bounded_as_it_arrives(url):
    answer = httpx.post(f"{url}{PATH}", json=sent())
    assert error(answer) == (413, "upload_too_large", "file")
    answer = httpx.post(
        f"{url}{PATH}", content=iter([json.dumps(sent()).encode()]),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert error(answer) == (413, "upload_too_large", "file")
