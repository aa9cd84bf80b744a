"""Files and batches over HTTP, as OpenAI's SDK asks for them."""

import asyncio
import base64
import errno
import json
import shutil

import pytest

from app.background.batch_lines import LONGEST_LINE, lines_of
from app.background.batch_results import Results, failed, succeeded
from tests.background.conftest import SPEECH, FakeDecoder, copied, submit, wait_until, working
from tests.background.receiver import receiving
from tests.background.test_jobs import WAV, error
from tests.background.test_webhooks import SECRET, read
from tests.serving.fakes import served

DATA = "data:audio/wav;base64," + base64.b64encode(WAV).decode()
ENDS = ("completed", "failed", "cancelled", "expired")
ONE, OTHER = {"authorization": "Bearer one"}, {"authorization": "Bearer other"}


@pytest.fixture
def settings(tmp_path, more):
    return {"cache_dir": tmp_path / "cache"} | more


@pytest.fixture
def more():
    return {}


HALF = "\ud800"  # half a surrogate pair, which JSON can spell and UTF-8 cannot hold
DEEP = json.loads('{"a":' * 300 + "1" + "}" * 300)


def upload(client, content, name="in.jsonl", purpose="batch", headers=None):
    files = {"file": (name, content)}
    return client.post("/v1/files", files=files, data={"purpose": purpose}, headers=headers)


def line(custom_id, **body):
    body = {"url": DATA} | body
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": SPEECH, "body": body})


def begin(client, *lines, headers=None, **more):
    content = "\n".join(lines).encode()
    file = upload(client, content, headers=headers).json()["id"]
    asked = {"input_file_id": file, "endpoint": SPEECH, "completion_window": "24h"} | more
    return client.post("/v1/batches", json=asked, headers=headers)


def over(client, batch, headers=None):
    def found():
        body = client.get(f"/v1/batches/{batch}", headers=headers).json()
        return body if body["status"] in ENDS else None

    return wait_until(found)


def told(client, file):
    """A file's lines by their custom ids; {} for no file."""
    if file is None:
        return {}
    text = client.get(f"/v1/files/{file}/content").text
    return {one["custom_id"]: one for one in map(json.loads, text.splitlines())}


def test_a_file_is_kept_as_it_came(client):
    body = upload(client, WAV, "a.wav", "user_data").json()
    assert (body["object"], body["bytes"], body["filename"]) == ("file", len(WAV), "a.wav")
    assert client.get(f"/v1/files/{body['id']}/content").content == WAV
    assert [one["id"] for one in client.get("/v1/files").json()["data"]] == [body["id"]]
    assert client.get("/v1/files", params={"purpose": "batch"}).json()["data"] == []
    deleted = client.delete(f"/v1/files/{body['id']}").json()
    assert deleted == {"id": body["id"], "object": "file", "deleted": True}
    assert error(client.get(f"/v1/files/{body['id']}")) == (404, "not_found", "id")


@pytest.fixture
def vanishing(client, context, monkeypatch):
    """A file that somebody else deletes while it is asked for."""
    files, file = context.batches.files, upload(client, line("one").encode()).json()["id"]
    path = files.path

    def gone(record):
        del files._files[record.id]
        return path(record)

    shutil.rmtree(path(files.get("", file)).parent)
    monkeypatch.setattr(files, "path", gone)
    return file


def test_a_file_that_is_deleted_as_it_is_read_is_not_found(client, vanishing):
    assert error(client.get(f"/v1/files/{vanishing}/content")) == (404, "not_found", "id")


def test_a_file_that_is_deleted_as_a_batch_begins_is_not_found(client, vanishing):
    answer = client.post("/v1/batches", json={"input_file_id": vanishing, "endpoint": SPEECH})
    assert error(answer) == (404, "not_found", "input_file_id")


def test_a_files_purpose_is_one_that_there_is(client):
    assert error(upload(client, WAV, purpose="fine-tune")) == (400, "invalid_value", "purpose")


def test_every_line_of_a_batch_is_transcribed(client):
    audio = upload(client, WAV, "a.wav").json()["id"]
    batch = begin(client, line("one"), line("two", url=None, file_id=audio)).json()
    assert (batch["object"], batch["status"]) == ("batch", "validating")
    body = over(client, batch["id"])
    assert body["status"] == "completed"
    assert body["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert body["error_file_id"] is None
    results = told(client, body["output_file_id"])
    assert {one["response"]["body"]["text"] for one in results.values()} == {"Mayday."}
    assert set(results) == {"one", "two"}
    assert client.get(SPEECH).json()["data"] == [], "a batch's jobs are its own"


def test_fields_of_a_body_are_those_of_the_form(client, transcriber):
    fields = {
        "response_format": "verbose_json", "timestamp_granularities": ["word"], "temperature": 0.5,
        "chunking_strategy": {"type": "server_vad", "threshold": 0.4}, "language": "en",
    }  # fmt: skip
    body = over(client, begin(client, line("one", **fields)).json()["id"])
    assert body["request_counts"]["completed"] + body["request_counts"]["failed"] == 1
    (one,) = told(client, body["output_file_id"]).values()
    assert one["response"]["body"]["task"] == "transcribe"


@pytest.mark.parametrize(
    ("bad", "custom_id", "code"),
    [("{", None, "invalid_body"), ("[]", None, "invalid_body"), ("{}", None, "invalid_value"),
     (line("x", url="https://example.com/a.wav"), "x", "invalid_value"),
     (line("x", url=None), "x", "invalid_value"), (line("x", url=7), "x", "invalid_value"),
     (line("x", file_id="file-none"), "x", "invalid_value"),
     (line("x", url=None, file_id="file-none"), "x", "not_found"),
     (line("x", url="data:audio/wav;base64,%%%"), "x", "invalid_value"),
     (line("x", url="data:;base64,bm9uZW5vbmVub25l"), "x", "not_audio"),
     (line("x", language="xx"), "x", "invalid_value"),
     (line("x", stream=True), "x", "invalid_value"),
     (line("x", response_format=[[1]]), "x", "invalid_value"),
     (line("x").replace(SPEECH, "/v1/chat/completions"), "x", "invalid_value"),
     ('{"custom_id": ' + "[" * 5000, None, "invalid_body"),
     (line("x", prompt=HALF), None, "invalid_body"), (line(HALF), None, "invalid_body"),
     (line("x", prompt=DEEP), None, "invalid_body"),
     (line("x", temperature=float("nan")), None, "invalid_body")],
)  # fmt: skip
def test_a_bad_line_fails_alone(client, bad, custom_id, code):
    body = over(client, begin(client, line("before"), bad, "", line("after")).json()["id"])
    assert body["status"] == "completed"
    assert body["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert set(told(client, body["output_file_id"])) == {"before", "after"}
    ((found, entry),) = told(client, body["error_file_id"]).items()
    assert (found, entry["error"]["code"]) == (custom_id, code)
    assert entry["response"]["body"]["error"]["code"] == code
    assert 400 <= entry["response"]["status_code"] < 500


def test_a_file_may_begin_with_a_byte_order_mark(client):
    body = over(client, begin(client, "\ufeff" + line("one")).json()["id"])
    assert body["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


def test_a_batch_without_a_line_fails(client):
    body = over(client, begin(client, "", " ").json()["id"])
    assert (body["status"], body["errors"]["data"][0]["code"]) == ("failed", "empty_file")


def test_a_batch_needs_its_file_and_its_endpoint(client):
    assert error(
        client.post("/v1/batches", json={"input_file_id": "file-none", "endpoint": SPEECH})
    ) == (404, "not_found", "input_file_id")
    assert error(begin(client, line("one"), endpoint="/v1/chat/completions"))[0] == 400
    assert error(client.get("/v1/batches/batch_none")) == (404, "not_found", "id")


@pytest.mark.parametrize("body", [b'{"metadata": {"\\ud800": "a"}}', b'{"a": ' * 500, b"\xff"])
def test_an_order_that_cannot_be_read_is_told(client, body):
    answer = client.post("/v1/batches", content=body)
    assert error(answer) == (400, "invalid_body", None)


@pytest.mark.parametrize("path", [SPEECH, "/v1/files", "/v1/batches"])
@pytest.mark.parametrize("limit", ["0", "x", "101", "9" * 30])
def test_a_page_that_is_none_is_told_in_the_envelope(client, path, limit):
    assert error(client.get(path, params={"limit": limit})) == (400, "invalid_value", "limit")


def test_a_cancelled_batch_keeps_what_is_done(client, transcriber, context):
    first = begin(client, line("one")).json()["id"]
    over(client, first)
    transcriber.delay = 3600
    batch = begin(client, *(line(f"n{number}") for number in range(30))).json()["id"]
    wait_until(lambda: len(transcriber.asked) > 3)
    answer = client.post(f"/v1/batches/{batch}/cancel")
    assert answer.json()["status"] == "cancelling"
    body = over(client, batch)
    assert (body["status"], body["request_counts"]["total"]) == ("cancelled", 30)
    assert not context.background.of_batch(batch)
    assert error(client.post(f"/v1/batches/{batch}/cancel")) == (409, "conflict", None)


@pytest.mark.parametrize("more", [{"api_keys": "one,other"}])
def test_files_and_batches_are_visible_to_their_key_alone(client):
    batch = begin(client, line("one"), headers=ONE).json()
    body = over(client, batch["id"], headers=ONE)
    for path in (f"/v1/batches/{batch['id']}", f"/v1/files/{body['output_file_id']}/content"):
        assert client.get(path, headers=ONE).status_code == 200
        assert error(client.get(path, headers=OTHER)) == (404, "not_found", "id")
    assert client.get("/v1/batches", headers=OTHER).json()["data"] == []
    assert client.get("/v1/files", headers=OTHER).json()["data"] == []
    assert error(client.post(f"/v1/batches/{batch['id']}/cancel", headers=OTHER))[0] == 404
    asked = {"input_file_id": body["input_file_id"], "endpoint": SPEECH}
    assert error(client.post("/v1/batches", json=asked, headers=OTHER))[0] == 404


def test_a_batch_goes_on_in_the_next_server(context, transcriber, tmp_path):
    """A kill is what a copy of the folders holds at some moment."""
    cache = context.settings.cache_dir
    with working(context) as client:
        transcriber.error, transcriber.fails_at = None, 0
        batch = begin(client, *(line(f"n{number}") for number in range(40)), "{").json()["id"]
        results = cache / "batches" / batch / "results.jsonl"
        wait_until(lambda: results.exists() and results.read_bytes().count(b"\n") > 4)
        copied(cache, tmp_path / "copy")
    shutil.rmtree(cache)
    shutil.move(tmp_path / "copy", cache)
    decoder = FakeDecoder()
    before = results.read_bytes().count(b"\n")
    model = context.state.default.model
    context.state.default.model = served(decoder, model.checkpoint)
    with working(context) as client:
        body = over(client, batch)
        assert body["request_counts"] == {"total": 41, "completed": 40, "failed": 1}
        assert len(told(client, body["output_file_id"])) == 40
    assert len(decoder.asked) <= 41 - before


class FirstAlone:
    """Lets one text be said, and none after it."""

    def __init__(self):
        self.asked = 0

    async def wait(self):
        self.asked += 1
        if self.asked > 1:
            await asyncio.Event().wait()


@pytest.fixture
def unfinished(context, transcriber):
    """A batch of three lines that a server leaves with one of them done."""
    transcriber.gate = FirstAlone()
    with working(context) as client:
        batch = begin(client, *(line(f"n{number}") for number in range(3))).json()
        path = f"/v1/batches/{batch['id']}"
        wait_until(lambda: client.get(path).json()["request_counts"]["completed"])
    return batch


def at(batch, seconds):
    """The clock of a server, so many seconds before a batch's window ends."""
    return {"clock": lambda: batch["created_at"] + 24 * 3600 - seconds}


@pytest.mark.parametrize("left", [0.2, -60])
def test_a_batch_whose_window_ends_keeps_what_is_done_and_expires(context, unfinished, left):
    assert unfinished["expires_at"] == unfinished["created_at"] + 24 * 3600
    with working(context, **at(unfinished, left)) as client:
        body = over(client, unfinished["id"])
        assert (body["status"], body["completed_at"]) == ("expired", None)
        assert body["expired_at"]
        assert body["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
        (done,) = told(client, body["output_file_id"])
        errors = told(client, body["error_file_id"])
        assert {done, *errors} == {"n0", "n1", "n2"}
        assert {one["error"]["code"] for one in errors.values()} == {"batch_expired"}
        assert {one["response"] for one in errors.values()} == {None}
        assert not context.background.of_batch(unfinished["id"])


def test_a_batch_with_time_left_goes_on(context, unfinished, transcriber):
    transcriber.gate = None
    with working(context, **at(unfinished, 3600)) as client:
        body = over(client, unfinished["id"])
        assert (body["status"], body["request_counts"]["completed"]) == ("completed", 3)


def test_a_batch_whose_lines_are_all_done_does_not_expire(context):
    with working(context) as client:
        batch = begin(client, line("one")).json()
        over(client, batch["id"])
    record = context.settings.cache_dir / "batches" / batch["id"] / "batch.json"
    killed = json.loads(record.read_text()) | {"status": "in_progress", "output_file_id": None}
    record.write_text(json.dumps(killed))
    with working(context, **at(batch, -60)) as client:
        assert over(client, batch["id"])["status"] == "completed"


@pytest.mark.parametrize("window", ["", "1 day", "24", "24x", "h", "-1d"])
def test_a_kept_batch_with_an_older_window_has_a_day(context, window):
    with working(context) as client:
        batch = begin(client, line("one")).json()
        over(client, batch["id"])
    record = context.settings.cache_dir / "batches" / batch["id"] / "batch.json"
    older = json.loads(record.read_text()) | {"completion_window": window}
    record.write_text(json.dumps(older))
    with working(context) as client:
        (body,) = client.get("/v1/batches").json()["data"]
        assert body["completion_window"] == window
        assert body["expires_at"] == body["created_at"] + 24 * 3600


@pytest.mark.parametrize(("window", "hours"), [("1h", 1), ("48h", 48), ("7d", 168)])
def test_a_batchs_window_is_hours_or_days(client, window, hours):
    batch = begin(client, line("one"), completion_window=window).json()
    assert batch["expires_at"] - batch["created_at"] == hours * 3600


@pytest.mark.parametrize("window", ["", "0h", "24", "1 day", "100d", "-1d", "24h\n"])
def test_a_window_that_is_none_is_refused(client, window):
    answer = begin(client, line("one"), completion_window=window)
    assert error(answer) == (400, "invalid_value", "completion_window")


@pytest.mark.parametrize("more", [{"background_jobs": 1}])
def test_a_batch_waits_where_no_more_jobs_may(client, monkeypatch):
    monkeypatch.setattr("app.background.batch_work._ROOM_SECONDS", 0.01)
    body = over(client, begin(client, *(line(f"n{number}") for number in range(5))).json()["id"])
    assert body["request_counts"]["completed"] == 5


def test_a_full_disk_refuses_files_and_batches(client, monkeypatch):
    file = upload(client, line("one").encode()).json()["id"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.background.files.make_whole", full)
        patch.setattr("app.background.batches.make_whole", full)
        assert error(upload(client, WAV)) == (503, "upload_not_stored", None)
        asked = {"input_file_id": file, "endpoint": SPEECH}
        assert error(client.post("/v1/batches", json=asked)) == (503, "upload_not_stored", None)


@pytest.mark.parametrize("more", [{"background_bytes": 3 * len(WAV)}])
def test_files_count_among_the_bytes_that_are_kept(client):
    assert [upload(client, WAV).status_code for _ in range(3)] == [200, 200, 503]
    assert submit(client, WAV).status_code == 503


@pytest.mark.parametrize("more", [{"webhook_secret": SECRET, "allow_private_addresses": True}])
def test_a_webhook_says_that_a_batch_is_over(client):
    with receiving() as (receiver, url):
        batch = begin(client, line("one"), webhook_url=url).json()["id"]
        event = read(wait_until(lambda: receiver.got)[0])
    assert (event.type, event.data.id) == ("batch.completed", batch)


@pytest.mark.parametrize("more", [{"fetch_urls": True, "allow_private_addresses": True}])
def test_a_line_may_name_an_address(client):
    with receiving() as (receiver, url):
        receiver.content = WAV
        lines = line("groq", url=url), line("vllm", url=None, file_url=url)
        body = over(client, begin(client, *lines).json()["id"])
    assert set(told(client, body["output_file_id"])) == {"groq", "vllm"}


def test_a_line_that_is_too_long_is_known_by_its_length(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"a\n" + b"x" * (LONGEST_LINE + 5) + b"\n\n" + b"b")
    assert [len(one) for one in lines_of(path)] == [2, LONGEST_LINE + 1, 1]


def test_half_a_result_counts_for_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.read()
    results.add([(0, succeeded("a", {"text": "b"}))])
    results.add([(3, failed("c", {"code": "d"}, 400))])
    with path.open("ab") as file:
        file.write(b'{"line": 5, "entr')
    again = Results(path)
    again.read()
    assert again.known == {0: True, 3: False}
    assert again.counts == (1, 1)
    again.add([(5, succeeded("e", {}))])
    assert len(list(again.entries(is_good=True))) == 2
