"""One recording in the background, over HTTP: asked for, watched, fetched, deleted."""

import json

import pytest

from app.errors import EngineDied
from tests.background.conftest import SPEECH, over, submit, until, wait_until
from tests.sound import encode, tone

WAV = encode(tone(1))


def error(answer):
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return answer.status_code, body["code"], body["param"]


def events(client, job):
    text = client.get(f"{SPEECH}/{job}/events").text
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]


def test_a_job_is_accepted_at_once_and_transcribed_later(client):
    answer = submit(client, WAV, filename="mayday.wav")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"{SPEECH}/{job['id']}"
    assert (job["object"], job["filename"], job["model"]) == (
        "transcription.job",
        "mayday.wav",
        "mine",
    )
    body = over(client, job["id"])
    assert body["status"] == "completed"
    assert body["progress"] == {"seconds_done": 1.0, "seconds_total": 1.0, "eta_seconds": 0.0}
    assert body["expires_at"] - body["completed_at"] == 7 * 86_400
    assert client.get(f"{SPEECH}/{job['id']}/result").json()["text"] == "Mayday."


@pytest.mark.parametrize(
    ("response_format", "begins"),
    [("text", "Mayday.\n"), ("srt", "1\n00:00:00,000"), ("vtt", "WEBVTT")],
)
def test_a_result_comes_in_any_format_later(client, response_format, begins):
    job = submit(client, WAV).json()["id"]
    over(client, job)
    answer = client.get(f"{SPEECH}/{job}/result", params={"response_format": response_format})
    assert answer.text.startswith(begins)


def test_a_result_has_words_later_though_nobody_asked_for_them_before(client):
    job = submit(client, WAV, response_format="srt").json()["id"]
    over(client, job)
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    body = client.get(f"{SPEECH}/{job}/result", params=asked).json()
    assert [word["word"] for word in body["words"]] == ["Mayday."]
    assert client.get(f"{SPEECH}/{job}/result").text.startswith("1\n00:00")


def test_what_went_with_the_forms_format_does_not_forbid_another(client):
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    job = submit(client, WAV, **fields).json()["id"]
    over(client, job)
    assert "words" in client.get(f"{SPEECH}/{job}/result").json()
    assert client.get(f"{SPEECH}/{job}/result", params={"response_format": "text"}).is_success


def test_a_bad_format_names_its_field(client):
    job = submit(client, WAV).json()["id"]
    answer = client.get(f"{SPEECH}/{job}/result", params={"response_format": "docx"})
    assert error(answer) == (400, "invalid_value", "response_format")


def test_a_job_that_is_not_over_has_no_result(client, transcriber):
    transcriber.delay = 60
    job = submit(client, WAV).json()["id"]
    assert error(client.get(f"{SPEECH}/{job}/result")) == (409, "job_not_over", None)


def test_background_excludes_stream(client):
    assert error(submit(client, WAV, stream="true")) == (400, "invalid_value", "background")


def test_what_cannot_be_decoded_fails_with_the_error_that_a_request_would_get(client):
    job = submit(client, b"none" * 9).json()["id"]
    body = over(client, job)
    assert body["status"] == "failed"
    assert (body["error"]["code"], body["error"]["param"]) == ("not_audio", "file")
    assert error(client.get(f"{SPEECH}/{job}/result")) == (409, "job_failed", None)
    assert '"status": "failed"' in events(client, job)[-2]


def test_a_form_that_is_refused_makes_no_job(client):
    assert error(submit(client, WAV, model="none", language="xx"))[0] in (400, 404)
    assert client.get(SPEECH).json()["data"] == []


def test_an_id_that_nobody_has_is_404(client):
    for path in ("", "/result", "/events"):
        assert error(client.get(f"{SPEECH}/tjob_none{path}")) == (404, "job_not_found", "id")
    assert error(client.delete(f"{SPEECH}/tjob_none")) == (404, "job_not_found", "id")


def test_a_deleted_job_is_gone_with_its_recording(client, context):
    job = submit(client, WAV).json()["id"]
    over(client, job)
    answer = client.delete(f"{SPEECH}/{job}").json()
    assert answer == {"id": job, "object": "transcription.job", "deleted": True}
    assert error(client.get(f"{SPEECH}/{job}"))[0] == 404
    assert list((context.settings.cache_dir / "transcriptions").iterdir()) == []


def test_deleting_cancels_what_is_under_way(client, transcriber, context):
    transcriber.delay = 60
    job = submit(client, WAV).json()["id"]
    until(client, job, {"in_progress"})
    assert client.delete(f"{SPEECH}/{job}").json()["deleted"]
    assert list((context.settings.cache_dir / "transcriptions").iterdir()) == []
    transcriber.delay = 0
    assert over(client, submit(client, WAV).json()["id"])["status"] == "completed"


def test_the_recording_is_dropped_when_its_text_is_there(client, context):
    job = submit(client, WAV).json()["id"]
    over(client, job)
    folder = context.settings.cache_dir / "transcriptions" / job
    assert {path.name for path in folder.iterdir()} == {"job.json", "transcript.json"}


def test_events_tell_the_segments_the_progress_and_the_end(client, transcriber):
    transcriber.texts = [" One.", " Two."]
    job = submit(client, encode(tone(3))).json()["id"]
    *told, done = events(client, job)
    assert done == "[DONE]"
    bodies = [json.loads(one) for one in told]
    segments = [one for one in bodies if one["type"] == "transcript.text.segment"]
    assert [(one["id"], one["text"]) for one in segments] == [
        ("seg_0", " One."),
        ("seg_1", " Two."),
    ]
    assert bodies[-1]["type"] == "transcription.job.completed"
    assert bodies[-1]["job"]["progress"]["seconds_done"] == 3.0


def test_whoever_follows_when_it_is_over_gets_all_segments(client):
    job = submit(client, WAV).json()["id"]
    over(client, job)
    told = events(client, job)
    assert ["segment" in one for one in told] == [False, True, False, False]


def test_jobs_are_listed_the_newest_first_page_by_page(client):
    ids = [submit(client, WAV).json()["id"] for _ in range(3)]
    first = client.get(SPEECH, params={"limit": 2}).json()
    assert [one["id"] for one in first["data"]] == [ids[2], ids[1]]
    assert first["has_more"]
    after = client.get(SPEECH, params={"after": first["last_id"]}).json()
    assert ([one["id"] for one in after["data"]], after["has_more"]) == ([ids[0]], False)


def test_an_engines_death_is_no_jobs_end(client, transcriber):
    transcriber.error = EngineDied("gone")
    job = submit(client, WAV).json()["id"]
    wait_until(lambda: len(transcriber.asked) >= 2)
    transcriber.error = None
    assert over(client, job)["status"] == "completed"


def test_a_recording_that_ends_every_engine_is_given_up(client, transcriber):
    transcriber.error = EngineDied("gone")
    body = over(client, submit(client, WAV).json()["id"])
    assert (body["status"], body["error"]["code"]) == ("failed", "engine_died")
    assert len(transcriber.asked) == 5
