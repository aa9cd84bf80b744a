"""What a connection may cost before it is a request, over real sockets."""

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from app.commands.connections import BoundedHttpProtocol
from app.commands.serve import server_config
from app.settings import Settings
from tests.api.conftest import serving

START = b"GET /health/live HTTP/1.1\r\nhost: x\r\n"
UPLOAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


async def app(scope, receive, send):
    """Reads a body and says how long it was; /early answers before it has read any, /slow after a
    while."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    told = str(size).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


def test_the_service_has_these_connections():
    assert server_config(app, Settings()).http is BoundedHttpProtocol


@pytest.fixture
def bounds():
    return {}


@pytest.fixture
def port(bounds):
    protocol = type("Protocol", (BoundedHttpProtocol,), bounds)
    with serving(app, protocol) as url:
        yield int(url.rsplit(":", 1)[1])


@contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        yield connection


def sent(connection, content):
    """All that comes back until the end, whatever becomes of the sending."""

    def send():
        with suppress(OSError):
            connection.sendall(content)

    sending = threading.Thread(target=send)
    sending.start()
    came = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            came += piece
    sending.join()
    return came


def ask(port, content):
    with connected(port) as connection:
        return sent(connection, content)


def head_of(size):
    """A whole one of so many bytes, after which the connection is closed."""
    start, end = START + b"connection: close\r\nx: ", b"\r\n\r\n"
    return start + b"y" * (size - len(start) - len(end)) + end


def assert_refused(answer, status, code):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"x-request-id: req_" in head
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


def test_a_head_may_have_as_many_bytes_as_the_bound_and_not_one_more(port):
    assert ask(port, head_of(2**16)).startswith(b"HTTP/1.1 200")
    assert_refused(ask(port, head_of(2**16 + 1)), 431, "headers_too_large")


@pytest.mark.parametrize(
    "endless",
    [
        START + b"x: " + b"y" * 2**22,
        START + b"x: y\r\n" * 2**19,
        b"GET /" + b"y" * 2**22,
        b"\r\n" * 2**21,
    ],
    ids=["a header", "headers", "a path", "blank lines"],
)
def test_a_head_without_end_is_refused_and_the_connection_closed(port, endless):
    answer = ask(port, endless)
    assert b" 431 " in answer.partition(b"\r\n")[0] or b" 400 " in answer.partition(b"\r\n")[0]
    assert answer.rstrip().endswith(b"}")


@pytest.mark.parametrize(
    "endless",
    [b"0\r\n" + b"x: y\r\n" * 2**19, b"0\r\nx: " + b"y" * 2**22, b"1;" + b"y" * 2**22],
    ids=["trailers", "a trailer", "a chunk's extension"],
)
def test_what_comes_with_a_body_and_is_none_has_the_same_bound(port, endless):
    with connected(port) as connection:
        begun = time.monotonic()
        assert b"200" not in sent(connection, UPLOAD + b"1\r\na\r\n" + endless)
    assert time.monotonic() - begun < 8


def test_a_body_has_no_such_bound(port):
    chunk = b"%x\r\n" % 1000 + b"x" * 1000 + b"\r\n"
    many_small = b"1\r\nx\r\n" * 50_000
    end = b"0\r\n\r\n"
    with connected(port) as connection:
        connection.sendall(UPLOAD + chunk * 1000 + many_small + end)
        assert connection.recv(65536).endswith(b"1050000")
        connection.sendall(UPLOAD + chunk + end)  # and the connection lasts
        assert connection.recv(65536).endswith(b"1000")


@pytest.mark.parametrize("bounds", [{"head_seconds": 0.5}])
def test_heads_that_are_not_there_in_time_are_closed_many_at_once(port):
    with ExitStack() as stack:
        half = [stack.enter_context(connected(port)) for _ in range(300)]
        for number, one in enumerate(half):
            if number % 3:
                one.sendall(START)
        for number, one in enumerate(half):
            answer = sent(one, b"")
            if number % 3:
                assert_refused(answer, 408, "headers_timeout")
            else:  # nothing was asked
                assert answer == b""
    assert ask(port, head_of(100)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("bounds", [{"head_seconds": 0.5}])
def test_a_head_that_trickles_is_closed_too(port):
    with connected(port) as connection:
        begun = time.monotonic()
        with suppress(OSError):
            for byte in START * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("bounds", [{"head_seconds": 0.5}])
def test_the_next_head_on_a_used_connection_has_its_time_from_its_first_byte(port):
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(START + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)  # longer than a head may take: nothing has begun
        assert_refused(sent(connection, START), 408, "headers_timeout")


@pytest.mark.parametrize("bounds", [{"head_seconds": 0.3}])
def test_a_body_may_take_longer_than_a_head(port):
    with connected(port) as connection:
        connection.sendall(UPLOAD)
        for _ in range(8):
            connection.sendall(b"1\r\nx\r\n")
            time.sleep(0.1)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536).endswith(b"8")


@pytest.mark.parametrize("bounds", [{"head_seconds": 0.3}])
def test_a_head_that_comes_while_another_is_answered_does_not_cut_that_off(port):
    with connected(port) as connection:
        connection.sendall(
            UPLOAD.replace(b"transfer-encoding: chunked", b"content-length: 2") + b"x"
        )
        time.sleep(0.6)
        connection.sendall(b"x" + START)
        assert connection.recv(65536).endswith(b"2")
        assert_refused(sent(connection, b""), 408, "headers_timeout")


@pytest.mark.parametrize(
    "bounds", [{"timeout_keep_alive": property(lambda self: 0.5, lambda *_: None)}]
)
def test_a_body_that_was_answered_early_does_not_hold_a_connection_for_ever(port):
    with connected(port) as connection:
        head = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(65536).endswith(b"0")
        assert sent(connection, b"x") == b""  # and no more


def test_what_is_no_http_is_answered_in_the_envelope(port):
    assert_refused(ask(port, b"\x16\x03\x01 what\r\n\r\n"), 400, "invalid_http")


@pytest.mark.parametrize("bounds", [{"most_connections": 8}])
def test_where_there_are_too_many_the_one_that_is_idle_for_longest_makes_room(port):
    with ExitStack() as stack:
        busy = stack.enter_context(connected(port))
        busy.sendall(UPLOAD)
        time.sleep(0.1)
        idle = [stack.enter_context(connected(port)) for _ in range(30)]
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"
        assert sent(idle[0], b"") == b""
        busy.sendall(b"1\r\nx\r\n0\r\n\r\n")
        assert busy.recv(65536).endswith(b"1")
        idle[-1].sendall(START + b"\r\n")
        assert idle[-1].recv(65536).startswith(b"HTTP/1.1 200")
