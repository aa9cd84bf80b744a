"""What a request may cost, and what it is told when that is too much."""

import asyncio
import errno
import socket
import tempfile
import threading
import time
from contextlib import suppress

import httpx
import openai
import pytest

import app.api.spool
from app.api.spool import check_spool_folder, spool_folder
from app.errors import UploadFolderUnusable
from app.main import build_app
from tests.api.conftest import answer_before_the_body, serving, whole_answer
from tests.sound import encode, tone
from tests.waiting import until

WAV = encode(tone(1))  # 32 KB


def post(url, content=WAV, **kwargs):
    return httpx.post(f"{url}/v1/audio/transcriptions", files={"file": content}, **kwargs)


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("settings", [{"max_upload_bytes": 1000}])
def test_an_upload_that_announces_too_much_is_refused_at_once(url, context):
    answer = answer_before_the_body(url, "content-length: 1001")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"upload_too_large" in answer
    assert b"1000 bytes" in answer
    assert context.state.default.admission.under_way == 0


@pytest.mark.parametrize("settings", [{"max_upload_bytes": 1000}])
def test_an_upload_of_unknown_length_is_refused_at_its_first_byte_too_many(url):
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    content = part + b"x" * (1001 - len(part))
    chunk = b"%x\r\n%b\r\n" % (len(content), content)
    answer = answer_before_the_body(url, "transfer-encoding: chunked", content=chunk)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("settings", [{"upload_idle_seconds": 0.2, "max_requests": 1}])
def test_a_sender_that_falls_silent_is_given_up_and_its_place_is_free(url):
    answer = answer_before_the_body(url, "content-length: 9000", content=b"--x\r\n")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload_stalled" in answer
    assert post(url).status_code == 200


@pytest.mark.parametrize("settings", [{"upload_idle_seconds": 0.4, "max_requests": 1}])
def test_a_sender_that_only_trickles_is_given_up_too(url):
    """A byte now and then would hold a place for ever."""
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 60) as connection:
        connection.sendall(head)
        with suppress(OSError):
            for _ in range(30):
                connection.sendall(b"x")
                time.sleep(0.05)
        assert whole_answer(connection).startswith(b"HTTP/1.1 408")
    assert post(url).status_code == 200


@pytest.mark.parametrize("settings", [{"max_upload_bytes": 1000}])
def test_the_sdk_reads_the_refusal_of_a_large_upload(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"x" * 30_000_000))
    assert (caught.value.status_code, caught.value.code) == (413, "upload_too_large")


@pytest.mark.parametrize("settings", [{"max_requests": 1}])
def test_a_request_too_many_is_429_and_the_place_is_given_back(url, transcriber):
    transcriber.delay = 0.5
    first = threading.Thread(target=post, args=(url,))
    first.start()
    while not transcriber.asked:
        pass
    answer = post(url)
    assert code(answer) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0
    first.join()
    transcriber.delay = 0
    assert post(url).status_code == 200
    assert post(url, b"bad").status_code == 415
    assert post(url).status_code == 200


@pytest.mark.parametrize("settings", [{"max_requests": 1}])
def test_the_sdk_waits_and_tries_again(url, transcriber):
    transcriber.delay = 0.5
    first = threading.Thread(target=post, args=(url,))
    first.start()
    while not transcriber.asked:
        pass
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2)
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV))
    assert answer.text == "Mayday."
    first.join()


@pytest.mark.anyio
@pytest.mark.parametrize("settings", [{"max_requests": 2}])
async def test_places_are_given_back_however_requests_end(url, context, transcriber):
    transcriber.delay = 60
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            request = client.post(f"{url}/v1/audio/transcriptions", files={"file": WAV})
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(request, 0.1)  # leaves
        await until(lambda: context.state.default.admission.under_way == 0)
    assert transcriber.closed == len(transcriber.asked)


def test_a_disk_without_room_for_the_upload_is_503(url, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    answer = post(url)
    assert code(answer) == (503, "upload_not_stored")
    assert "No space left" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    "settings", [{"max_upload_bytes": 50_000, "max_stored_upload_bytes": 60_000}]
)
def test_uploads_that_together_are_too_much_for_the_disk_are_503_until_some_are_over(url, context):
    with context.state.limit.uploads.receiving("another") as other:
        other.add(30_000)
        answer = post(url)
        assert code(answer) == (503, "upload_not_stored")
        assert answer.headers["retry-after"]
        chunked = httpx.post(
            f"{url}/v1/audio/transcriptions",
            content=iter([b"--x\r\n", b"y" * 40_000]),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
        assert code(chunked) == (503, "upload_not_stored")
    for _ in range(3):
        assert post(url).status_code == 200


@pytest.mark.parametrize("settings", [{"max_decoded_seconds": 1.5}])
def test_audio_that_is_in_memory_is_bounded_and_given_back(url, transcriber):
    transcriber.delay = 0.5
    first = threading.Thread(target=post, args=(url,))
    first.start()
    while not transcriber.asked:
        pass
    assert code(post(url)) == (503, "queue_full")
    first.join()
    assert post(url).status_code == 200


@pytest.mark.parametrize("settings", [{"max_requests": 4}])
def test_uploads_that_trickle_do_not_shut_others_out(url):
    """From two addresses, which hold every place, and ask again at once."""
    port, over = int(url.rsplit(":", 1)[1]), threading.Event()
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        b'content-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )

    def trickle(address):
        while not over.is_set():
            with (
                suppress(OSError),
                socket.create_connection(
                    ("127.0.0.1", port), 5, source_address=(address, 0)
                ) as connection,
            ):
                connection.sendall(head)
                while not over.wait(0.1):
                    connection.sendall(b"x" * 240)  # 12 kB every 5 s

    holding = [threading.Thread(target=trickle, args=(f"127.0.0.{2 + n % 2}",)) for n in range(8)]
    for one in holding:
        one.start()
    try:
        time.sleep(0.5)
        assert [post(url).status_code for _ in range(5)] == [200] * 5
    finally:
        over.set()
        for one in holding:
            one.join()


@pytest.fixture
def spool(monkeypatch, tmp_path):
    """TMPDIR, as a start finds it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    spool_folder.cache_clear()
    yield tmp_path / "spool"
    spool_folder.cache_clear()


def test_large_uploads_are_kept_in_tmpdir_and_nowhere_else(url, spool, monkeypatch):
    kept = []

    def keep(*_, dir=None, **__):
        kept.append(dir)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", keep)
    assert code(post(url, b"x" * 2**21)) == (503, "upload_not_stored")
    assert kept == [str(spool)]


def test_a_tmpdir_that_cannot_be_written_is_told_at_the_start(spool):
    with pytest.raises(UploadFolderUnusable, match="TMPDIR") as caught:
        check_spool_folder()
    assert str(spool) in caught.value.message
    spool.mkdir()
    check_spool_folder()
    assert list(spool.iterdir()) == []


def test_a_tmpdir_that_is_only_full_does_not_end_the_start(spool, monkeypatch, caplog):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(app.api.spool, "TemporaryFile", full)
    check_spool_folder()
    assert "503" in caplog.text


def test_a_client_that_leaves_while_it_sends_is_no_error_in_the_log(context, caplog):
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with serving(build_app(context)) as url:
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(head)
        httpx.get(f"{url}/health/live")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert context.state.default.admission.under_way == 0


BODIES = {
    "no boundary": ({"content-type": "multipart/form-data"}, b"x"),
    "a charset that is none": (
        {"content-type": "multipart/form-data; boundary=x; charset=undefined"},
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nv\r\n--x--\r\n',
    ),
    "half a character": (
        {"content-type": "multipart/form-data; boundary=x; charset=utf-7"},
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n+2AA-\r\n--x--\r\n',
    ),
    "half a character in a file's name": (
        {"content-type": "multipart/form-data; boundary=x; charset=utf-7"},
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="+2AA-"\r\n\r\nv\r\n'
        b"--x--\r\n",
    ),
    "not a form": ({"content-type": "multipart/form-data; boundary=x"}, b"garbage"),
    "a field without a name": (
        {"content-type": "multipart/form-data; boundary=x"},
        b"--x\r\ncontent-disposition: form-data\r\n\r\nv\r\n--x--\r\n",
    ),
    "a huge text field": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n' + b"v" * 200_000
        + b"\r\n--x--\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_form_that_cannot_be_read_is_400(url, name):
    headers, content = BODIES[name]
    answer = httpx.post(f"{url}/v1/audio/transcriptions", content=content, headers=headers)
    assert code(answer) == (400, "invalid_body")
    assert post(url).status_code == 200


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [("application/json", b"{}", "input_audio"),
     ("application/x-www-form-urlencoded", b"model=x", "multipart/form-data"),
     ("", b"", "multipart/form-data")],
)  # fmt: skip
def test_another_kind_of_body_holds_no_file(url, kind, content, told):
    answer = httpx.post(
        f"{url}/v1/audio/transcriptions", content=content, headers={"content-type": kind}
    )
    assert code(answer) == (400, "missing_required_parameter")
    assert told in answer.json()["error"]["message"]
