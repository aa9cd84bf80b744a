"""Requests for jobs, files and batches that are damaged or odd, for tests/contract/fuzz.py."""

import base64
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from app.background.batch_lines import LONGEST_LINE
from tests.contract.damaged import ANYTHING, KINDS, VALUES, Asked, body, damaged

SPEECH, FILES, BATCHES = "/v1/audio/transcriptions", "/v1/files", "/v1/batches"
FORMATS = [*VALUES["response_format"], "", "json,text"]
QUERIES = [
    "", "", "", "?limit=1", "?limit=0", "?limit=x", "?limit=99999999999999999999", "?after=none",
    "?after=%00", "?after=%ED%A0%80", "?purpose=batch", "?purpose=%FF", "?limit=100&limit=2",
]  # fmt: skip
WINDOWS = ["24h", "24h", "24h", "7d", "1h", "0h", "99999999999d", "", "\ud800", None, 24]
PURPOSES = ["batch", "batch", "user_data", "fine-tune", "", "\x00"]
UNKNOWN = ["none", "..", "%2e%2e%2f", "%00", "%ED%A0%80", "a" * 3000, "鷺"]


@dataclass
class Known:
    """Ids that the server has given out so far, by the path that they stand under. hook: an address
    that answers; hang: one that never does."""

    hook: str = "http://127.0.0.1:9/"
    hang: str = "http://127.0.0.1:9/"
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def pick(self, choose: random.Random, path: str) -> str:
        """One of them, or one that there is not."""
        return choose.choice([*self.ids[path][-20:], choose.choice(UNKNOWN)])

    def addresses(self) -> list[str]:
        """What a client may name, good and bad."""
        return [
            self.hook, self.hook, self.hook, self.hang, "http://127.0.0.1:9/closed", "ftp://a/b",
            "http://user:secret@127.0.0.1/", "http://[::1", "http://127.0.0.1:99999/", "//",
            "https://127.0.0.1:9/", "http://nobody.invalid/a.wav", "http://a" + "b" * 3000,
            "http://\x00/", "javascript:alert(1)", "http://[fe80::1%25lo]/", "http://鷺.invalid/",
        ]  # fmt: skip


def job_request(choose: random.Random, content: bytes, known: Known) -> Asked:
    """Return a request of the routes around jobs."""
    way = choose.choices(WAYS, [weight for _, weight in WEIGHED])[0]
    return way(choose, content, known)


def ask_file(choose: random.Random, content: bytes, known: Known) -> Asked:
    """An upload: a recording, or the lines of a batch."""
    sent = content if choose.random() < 0.4 else lines(choose, content, known)
    fields = {"purpose": PURPOSES, "expires_after[seconds]": ["3600"], "file_url": [known.hook]}
    whole = body(choose, sent, "file", fields, ["purpose"])
    return Asked("POST", FILES, whole, choose.choice(KINDS))


def ask_batch(choose: random.Random, content: bytes, known: Known) -> Asked:
    """An order for a batch."""
    order = {
        "input_file_id": known.pick(choose, FILES),
        "endpoint": choose.choice([SPEECH] * 9 + ["/v1/chat/completions"]),
        "completion_window": choose.choice(WINDOWS),
        "metadata": choose.choice([None, {"a": "b"}, {"a": 1}, {"\ud800": "a"}, [], {"a": "\x00"}]),
        "webhook_url": choose.choice([None, *known.addresses()]),
    }
    for name in choose.sample(list(order), choose.choice([0, 0, 0, 1, 2])):
        order[name] = choose.choice(ANYTHING)
    whole = json.dumps(order).encode()
    return Asked("POST", BATCHES, _maybe_damaged(choose, whole, 0.1), "application/json")


def ask_background(choose: random.Random, content: bytes, known: Known) -> Asked:
    """A job, whose webhook or whose recording may be anywhere."""
    fields = VALUES | {
        "background": ["true", "true", "true", "false", "behind"],
        "webhook_url": known.addresses(),
        "file_url": known.addresses(),
    }
    has_file = choose.random() < 0.6
    always = ["background", *([] if has_file else ["file_url"])]
    always += ["webhook_url"] if choose.random() < 0.5 else []
    whole = body(choose, content if has_file else None, "file", fields, always)
    return Asked("POST", SPEECH, whole, choose.choice(KINDS))


def ask_known(choose: random.Random, _: bytes, known: Known) -> Asked:
    """What there is under an id, or an end to it."""
    path = choose.choice([SPEECH, SPEECH, FILES, BATCHES])
    one = f"{path}/{known.pick(choose, path)}"
    ways = {
        SPEECH: [("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")],
        FILES: [("GET", ""), ("GET", "/content"), ("GET", "/content"), ("DELETE", "")],
        BATCHES: [("GET", ""), ("GET", ""), ("POST", "/cancel")],
    }[path]
    method, tail = choose.choice([*ways, (choose.choice(["HEAD", "PUT", "PATCH"]), "")])
    return Asked(method, one + tail + (_result_query(choose) if tail == "/result" else ""))


def ask_list(choose: random.Random, _: bytes, known: Known) -> Asked:
    """A page of a list."""
    path = choose.choice([SPEECH, FILES, BATCHES])
    return Asked(choose.choice(["GET", "GET", "GET", "HEAD"]), path + choose.choice(QUERIES))


WEIGHED = [(ask_file, 4), (ask_batch, 3), (ask_background, 3), (ask_known, 8), (ask_list, 2)]
WAYS = [way for way, _ in WEIGHED]


def _result_query(choose: random.Random) -> str:
    query = f"?response_format={choose.choice(FORMATS)}"
    more = ["&max_line_width=12", "&max_line_width=x", "&timestamp_granularities[]=word", "&a=b",
            "&include[]=logprobs", "&max_line_count=-1", "&response_format=%FF"]  # fmt: skip
    return query + "".join(choose.sample(more, choose.choice([0, 0, 1, 2])))


def lines(choose: random.Random, content: bytes, known: Known) -> bytes:
    """The lines of a batch, few of them as they should be."""
    several = [_line(choose, content, known) for _ in range(choose.choice([0, 1, 2, 2, 4]))]
    return _maybe_damaged(choose, choose.choice([b"\n", b"\r\n", b"\n\n"]).join(several), 0.2)


def _line(choose: random.Random, content: bytes, known: Known) -> bytes:
    body: dict[str, Any] = {
        name: choose.choice(VALUES[name]) for name in choose.sample(list(VALUES), 2)
    }
    for name in list(body):
        if choose.random() < 0.3:
            body[name] = choose.choice(ANYTHING)
    whole = {
        "custom_id": choose.choice(["a", "a", "", "\ud800", "鷺", 7, None, "x" * 100_000]),
        "method": choose.choice(["POST", "POST", "POST", "GET", 1]),
        "url": choose.choice([SPEECH] * 8 + ["/v1/audio/translations", "", None]),
        "body": body | _source(choose, content, known),
    }
    if choose.random() < 0.1:
        whole[choose.choice(list(whole))] = choose.choice(ANYTHING)
    text = json.dumps(whole).encode()
    return choose.choice([text] * 6 + ODD_LINES)


ODD_LINES = [b"{", b"[]", b"\xff\xfe{\x00}\x00", b'{"a":' * 999, b"[" * 10**5, b"null", b"NaN"]


def _source(choose: random.Random, content: bytes, known: Known) -> dict[str, Any]:
    data = base64.b64encode(content).decode()
    return choose.choice(
        [{"url": f"data:audio/wav;base64,{data}"}] * 4
        + [{"file_id": known.pick(choose, FILES)}] * 3
        + [{name: choose.choice(known.addresses())} for name in ("url", "file_url")]
        + [{}, {"url": "data:,x"}, {"file_url": 7}, {"url": "data:;base64,%", "file_id": "a"}]
    )


def _maybe_damaged(choose: random.Random, whole: bytes, share: float) -> bytes:
    return damaged(choose, whole, [whole]) if choose.random() < share else whole


def story(recording: bytes) -> tuple[bytes, dict[str | None, str]]:
    """The lines of a batch in which one is good; the code that each of the others fails with, by
    its custom id (None: those whose id cannot be read)."""
    data = {"url": "data:audio/wav;base64," + base64.b64encode(recording).decode()}

    def line(custom_id: str, url: str = SPEECH, /, **body: Any) -> bytes:
        asked = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
        return json.dumps(asked).encode()

    several = [
        line("good", **data), b"{", b"\xff", b"", b"[" * 10**5, line("\ud800", **data),
        b'{"custom_id": "long"' + b" " * LONGEST_LINE + b"}", line("none"),
        line("elsewhere", "/v1/chat/completions", **data), line("gone", file_id="file-none"),
        line("language", **data, language="klingon"),
        line("no sound", url="data:;base64,bm9uZW5vbmVub25l"),
    ]  # fmt: skip
    codes: dict[str | None, str] = {
        None: "invalid_body", "elsewhere": "invalid_value", "gone": "not_found",
        "language": "invalid_value", "none": "invalid_value", "no sound": "not_audio",
    }  # fmt: skip
    return b"\n".join(several), codes
