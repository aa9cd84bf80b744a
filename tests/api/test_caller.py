"""Who a request is from, and how long they wait."""

import time
from contextlib import asynccontextmanager

import pytest

from app.api import transcriptions
from app.api.uploads import read_upload
from tests.sound import encode, tone

WAV = encode(tone(1))


@pytest.fixture
def callers(context, monkeypatch):
    """The clients that places were given to, and the patience that was counted with."""
    seen, admission = [], context.state.default.admission
    check = admission.check

    def noting(client, seconds, held, patience):
        seen.append((client, patience))
        check(client, seconds, held, patience)

    monkeypatch.setattr(admission, "check", noting)
    return seen


def post(client, **kwargs):
    answer = client.post("/v1/audio/transcriptions", files={"file": WAV}, **kwargs)
    assert answer.status_code == 200


def test_without_keys_a_client_is_its_address(client, callers):
    post(client, headers={"authorization": "Bearer anything"})
    assert callers == [("testclient", None)]


@pytest.mark.parametrize("settings", [{"api_keys": "one,two"}])
def test_with_keys_a_client_is_its_key_which_is_not_kept(client, callers):
    for key in ("one", "two", "one"):
        post(client, headers={"authorization": f"Bearer {key}"})
    names = [name for name, _ in callers]
    assert names[0] == names[2] != names[1]
    assert not any("one" in name or "two" in name for name in names)


@pytest.mark.parametrize(
    ("sent", "patience"),
    [("12.5", 12.5), ("600", 600), ("", None), ("NOT_GIVEN", None), ("inf", None), ("nan", None),
     ("-3", None), ("0", None), ("1e400", None)],
)  # fmt: skip
def test_patience_is_what_the_sdk_says_it_is(client, callers, sent, patience):
    headers = {"x-stainless-read-timeout": sent, "x-stainless-retry-count": "0"}
    post(client, headers=headers)
    ((_, left),) = callers
    # What decoding took of it is gone.
    assert left is None if patience is None else patience - 60 < left < patience


def test_an_sdk_that_counts_from_the_first_byte_has_less_left_after_a_long_upload(
    client, callers, monkeypatch
):
    """OpenAI's for JavaScript."""
    clock, passed = time.perf_counter, 0

    @asynccontextmanager
    async def slowly(*arguments):
        nonlocal passed
        async with read_upload(*arguments) as upload:
            passed += 300
            yield upload

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + passed)
    monkeypatch.setattr(transcriptions, "read_upload", slowly)
    for header in ("x-stainless-timeout", "x-stainless-read-timeout"):
        post(client, headers={header: "600", "x-stainless-retry-count": "0"})
    (_, from_the_first_byte), (_, once_sent) = callers
    assert from_the_first_byte < 300 < once_sent


@pytest.mark.parametrize("count", ["x", "-1", "9" * 9000, "٣", ""])
def test_a_retry_count_that_is_none_is_left_alone(client, callers, count):
    headers = {"x-stainless-read-timeout": "9", "x-stainless-retry-count": count.encode()}
    post(client, headers=headers)
    assert len(callers) == 1


def test_who_asks_for_a_stream_has_all_the_time(client, callers):
    headers = {"x-stainless-read-timeout": "9", "x-stainless-retry-count": "0"}
    post(client, headers=headers, data={"stream": "true"})
    assert callers == [("testclient", None)]
