"""A server that is killed, and what the next one finds. What is on the disk at the moment of a kill
is what a copy of the folder holds then."""

import shutil

import pytest

from app.checkpoints.checkpoint import Checkpoint
from app.sources.source import Source
from tests.background.conftest import (
    SPEECH,
    FakeDecoder,
    copied,
    over,
    submit,
    until,
    wait_until,
    working,
)
from tests.serving.fakes import served
from tests.sound import encode, tone


class NumberedDecoder(FakeDecoder):
    """Says of each window where it begins. Those from `held` on are never heard."""

    def __init__(self, held=10**6):
        super().__init__()
        self.held = held

    async def decode_window(self, request, on_token=lambda: None):
        self.texts = [f" at {request.window.start_ms}."]
        self.delay = 3600 if len(self.asked) >= self.held else 0.0
        async for result in super().decode_window(request, on_token):
            yield result


@pytest.fixture
def settings(tmp_path):
    return {"cache_dir": tmp_path / "cache", "window_seconds": 2, "max_audio_seconds": 60}


@pytest.fixture
def transcriber():
    return NumberedDecoder(held=3)


RECORDING = encode(tone(20.5))
WINDOWS = 12  # a steady tone is cut before 2 s are over


def serve(context, decoder, folder, name="mine"):
    context.state.default.model = served(decoder, Checkpoint(Source(name, folder, ""), folder))


def text_of(client, job):
    return client.get(f"{SPEECH}/{job}/result", params={"response_format": "text"}).text


@pytest.fixture
def killed(context, transcriber, tmp_path):
    """The id of a job whose server was killed after three windows, and its record's folder."""
    with working(context) as client:
        job = submit(client, RECORDING).json()["id"]
        until(client, job, {"in_progress"})
        log = tmp_path / "cache" / "transcriptions" / job / "windows.jsonl"
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 4)
        copied(tmp_path / "cache" / "transcriptions", tmp_path / "copy")
    shutil.rmtree(tmp_path / "cache" / "transcriptions")
    shutil.move(tmp_path / "copy", tmp_path / "cache" / "transcriptions")
    return job, log


def resumed(context, job, decoder, tmp_path, name="mine"):
    """The text of a job that the next server goes on with."""
    serve(context, decoder, tmp_path, name)
    with working(context) as client:
        assert over(client, job)["status"] == "completed"
        return text_of(client, job)


def test_a_killed_servers_job_goes_on_behind_its_finished_windows(context, killed, tmp_path):
    job, _ = killed
    decoder = NumberedDecoder()
    text = resumed(context, job, decoder, tmp_path)
    told = [int(part.split()[-1]) for part in text.strip().rstrip(".").split(".")]
    assert told == sorted(told)
    assert len(told) == len(decoder.asked) + 3
    assert told[0] == 0


def test_the_text_of_a_job_that_was_killed_twice_is_that_of_an_undisturbed_one(
    context, killed, tmp_path
):
    job, log = killed
    serve(context, NumberedDecoder(held=2), tmp_path)
    with working(context):
        wait_until(lambda: log.read_bytes().count(b"\n") == 6)
    text = resumed(context, job, NumberedDecoder(), tmp_path)
    with working(context) as client:
        again = submit(client, RECORDING).json()["id"]
        over(client, again)
        assert text == text_of(client, again)


def test_half_a_line_of_the_log_counts_for_nothing(context, killed, tmp_path):
    job, log = killed
    with log.open("ab") as file:
        file.write(b'{"channel": 0, "number": 7, "windows": [{"segm')
    decoder = NumberedDecoder(held=2)
    serve(context, decoder, tmp_path)
    with working(context):
        wait_until(lambda: log.read_bytes().count(b"\n") == 6)
    text = resumed(context, job, NumberedDecoder(), tmp_path)
    assert "segm" not in text
    assert text.count("at") == WINDOWS


def test_a_log_that_cannot_be_read_is_begun_anew(context, killed, tmp_path):
    job, log = killed
    log.write_bytes(log.read_bytes().replace(b'"segments"', b'"sentences"'))
    decoder = NumberedDecoder()
    assert resumed(context, job, decoder, tmp_path).count("at") == len(decoder.asked) == WINDOWS


def test_another_checkpoint_begins_the_job_anew(context, killed, tmp_path):
    job, _ = killed
    decoder = NumberedDecoder()
    resumed(context, job, decoder, tmp_path, name="another")
    assert len(decoder.asked) == WINDOWS


def test_a_job_that_keeps_killing_its_server_is_given_up(context, killed, tmp_path):
    """Each of these servers ends before it finishes a window."""
    job, _ = killed
    for _ in range(5):
        decoder = NumberedDecoder(held=0)
        serve(context, decoder, tmp_path)
        with working(context) as client:
            wait_until(lambda decoder=decoder: decoder.asked)
    serve(context, NumberedDecoder(), tmp_path)
    with working(context) as client:
        body = over(client, job)
    assert (body["status"], body["error"]["code"]) == ("failed", "job_given_up")


def test_a_half_made_job_is_dropped_at_the_start(context, tmp_path):
    half = tmp_path / "cache" / "transcriptions" / ".tjob_1.partial"
    half.mkdir(parents=True)
    (half / "recording").write_bytes(b"x")
    with working(context) as client:
        assert client.get(SPEECH).json()["data"] == []
    assert not half.exists()


def test_a_record_that_cannot_be_read_costs_no_other_job(context, killed, tmp_path):
    job, _ = killed
    bad = tmp_path / "cache" / "transcriptions" / "tjob_0"
    bad.mkdir()
    (bad / "job.json").write_text("{")
    assert resumed(context, job, NumberedDecoder(), tmp_path)


def test_two_servers_do_not_do_each_others_jobs(context, killed, tmp_path):
    job, _ = killed
    with working(context), working(context) as second:
        answer = second.get(f"{SPEECH}/{job}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "jobs_elsewhere")
