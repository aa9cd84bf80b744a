"""/quantize over HTTP: who may ask, what is answered, and in what shape."""

import asyncio
import base64
import json
import re
import socket
import threading
import time

import httpx
import jsonschema
import pytest
from fastapi.testclient import TestClient

from app.errors import BadField, CanaryFailed, JobConflict, OutOfMemory
from app.jobs import Jobs, JobStatus, Outcome
from app.main import build_app
from app.quantization.request import QuantizationRequest
from app.settings import Settings
from tests.api.conftest import serving
from tests.quantization.fakes import proof

KEY = {"authorization": "Bearer chief"}
MODEL = "openai/whisper-tiny"
PROOF = {"sources": ["somewhere"]}
ROUTES = [
    ("POST", "/quantize"),
    ("GET", "/quantize"),
    ("GET", "/quantize/{id}"),
    ("DELETE", "/quantize/{id}"),
    ("DELETE", "/quantize/{id}/record"),
    ("POST", "/quantize/{id}/resume"),
    ("GET", "/quantize/{id}/events"),
    ("POST", "/quantize/{id}/promote"),
    ("GET", "/quantize/{id}/report"),
    ("POST", "/models/rollback"),
]


class FakeQuantizing:
    """Real jobs whose work waits for `go` and ends as the order's model says: "failed", "rejected",
    or proven. Its worker runs in the loop that the first order comes in."""

    def __init__(self, folder, most_waiting=8):
        self.jobs = Jobs(folder, self._work, most_waiting=most_waiting)
        self.go, self.worker = threading.Event(), None
        self.orders, self.promoted, self.refusal = [], [], None

    async def _work(self, job, tell):
        tell.stage("quantizing")
        tell.progress(1, 2, 3.5, loss=0.25)
        while not self.go.is_set():
            await asyncio.sleep(0.002)
        if job.request["model"] == "failed":
            raise OutOfMemory("None is left.", "Buy some.")
        rejected = job.request["model"] == "rejected"
        judged = proof(reasons=("en: too bad",) if rejected else ())
        tell.facts(checkpoint={"fingerprint": "f" * 16}, proof=judged.summary())
        return Outcome(JobStatus.REJECTED if rejected else JobStatus.PROVEN)

    async def submit(self, order):
        if self.refusal:
            raise self.refusal
        self.worker = self.worker or asyncio.create_task(self.jobs.run())
        self.orders.append(order)
        whole = order.as_json()
        whole["model"] = whole["model"] or MODEL
        whole["proof"] = whole["proof"] or PROOF
        job, new = self.jobs.submit(whole, json.dumps(whole))
        await self.jobs.kept(job)
        return job, new

    async def report(self, job):
        if "proof" not in job.facts:
            raise JobConflict("There is no proof yet.", code="no_proof")
        return proof()

    async def promote(self, job_id, own, model):
        job = self.jobs.get(job_id)
        if self.refusal:
            raise self.refusal

        async def work(job, tell):
            if own:
                raise CanaryFailed("Heard otherwise.", "Look at them.")
            return Outcome(JobStatus.PROMOTED, {"promoted_at": 5})

        self.promoted.append(own)
        return self.jobs.start_beside(job.id, work)

    async def delete(self, job_id):
        await self.jobs.delete(job_id)

    async def roll_back(self, model):
        if self.refusal:
            raise self.refusal
        return {"fingerprint": None, "scheme": "unquantized", "more": "than is told"}


@pytest.fixture
def settings():
    return {"admin_key": "chief", "api_keys": "first,second"}


@pytest.fixture
def quantizing(context, tmp_path):
    context.quantization = FakeQuantizing(tmp_path / "jobs")
    return context.quantization


@pytest.fixture
def client(context, quantizing):
    """One loop for all requests, and the admin key unless a request says otherwise."""
    with TestClient(build_app(context), raise_server_exceptions=False, headers=KEY) as client:
        yield client


@pytest.fixture
def done(client, quantizing):
    """A job that is over, as its model says."""

    def done(model=MODEL):
        quantizing.go.set()
        answer = client.post("/quantize", json={"model": model})
        return until_over(client, answer.json()["id"])

    return done


def until_over(client, name):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        body = client.get(f"/quantize/{name}").json()
        if body["status"] not in ("queued", "running"):
            return body
        time.sleep(0.002)
    raise AssertionError("the job does not end")


def envelope(answer, status, code=None, param=None):
    """Asserts that an answer is OpenAI's error; its message."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert code in (None, error["code"])
    assert answer.headers["x-request-id"]
    return error["message"]


# Orders


def test_an_order_is_202_with_its_job_and_the_same_again_200(client, quantizing):
    body = {"recipe": {"scheme": "W8A8"}, "thresholds": {"min_recovery": 0.95}, "promote": "auto"}
    answer = client.post("/quantize", json=body)
    assert answer.status_code == 202
    job = answer.json()
    assert (job["object"], job["source"], job["promote"]) == ("quantization.job", MODEL, "auto")
    assert job["recipe"]["scheme"] == "W8A8"
    assert job["thresholds"]["min_recovery"] == 0.95
    assert job["proof_set"] == PROOF
    assert (job["checkpoint"], job["proof"], job["finished_at"]) == (None, None, None)
    assert answer.headers["location"] == f"/quantize/{job['id']}"
    again = client.post("/quantize", json=body)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert again.headers["location"] == answer.headers["location"]
    assert quantizing.orders[0] == QuantizationRequest.model_validate(body)


def test_a_choice_is_told_beside_what_was_asked(client, quantizing):
    body = {"recipe": {"scheme": "auto", "scenario": "latency"}}
    job = client.post("/quantize", json=body).json()
    assert (job["recipe"]["scheme"], job["choice"]) == ("auto", None)
    chosen = {"recipe": {"scheme": "W8A8", "method": "rtn"}, "verdict": "as fast as can be"}
    quantizing.jobs.get(job["id"]).facts["choice"] = chosen
    job = client.get(f"/quantize/{job['id']}").json()
    assert job["recipe"] == chosen["recipe"]
    assert job["choice"]["verdict"] == "as fast as can be"
    assert job["choice"]["asked"]["scenario"] == "latency"


def test_an_order_need_say_nothing_but_is_json(client, quantizing):
    assert client.post("/quantize", json={}).status_code == 202
    assert quantizing.orders == [QuantizationRequest()]
    envelope(client.post("/quantize"), 400, "invalid_body")


@pytest.mark.parametrize("content", [b"{", b"promote=auto", b"\xff\xfe{}", b'{"model": }', b"NaN"])
def test_what_is_no_json_is_400(client, quantizing, content):
    message = envelope(client.post("/quantize", content=content), 400, "invalid_body")
    assert "not JSON" in message
    assert quantizing.orders == []


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"W4A16"', b"true"])
def test_what_is_no_object_is_400(client, quantizing, content):
    envelope(client.post("/quantize", content=content), 400, "invalid_value")
    assert quantizing.orders == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"promote": "later"}, "promote"),
        ({"priority": 1}, "priority"),
        ({"model": 3}, "model"),
        ({"recipe": {"scheme": "W5A16"}}, "recipe.scheme"),
        ({"recipe": {"bits": 4}}, "recipe.bits"),
        ({"recipe": {"method": "rtn", "observer": "imatrix"}}, "recipe"),
        ({"recipe": {"components": {"encoder.mlp": "W5A5"}}}, "recipe.components.encoder.mlp"),
        ({"recipe": {"layers": {"*.fc1": "W8A8 g32"}}}, "recipe.layers.*.fc1"),
        ({"recipe": {"scenario": "latency"}}, "recipe.scenario"),
        ({"recipe": {"scheme": "auto"}}, "recipe.scenario"),
        ({"recipe": {"scheme": "auto", "scenario": "beauty"}}, "recipe.scenario"),
        ({"recipe": {"scheme": "auto", "scenario": "memory", "layers": {}}}, "recipe.layers"),
        ({"recipe": {"scheme": "auto", "scenario": "memory", "method": "awq"}}, "recipe.method"),
        ({"calibration": {"sources": []}}, "calibration.sources"),
        ({"calibration": {"sources": "x", "samples": 0}}, "calibration.samples"),
        ({"proof": {"sources": [{"language": "en"}]}}, "proof.sources.0.source"),
        ({"proof": {"sources": "x", "samples": None, "mix": {"en": 1}}}, "proof"),
        ({"thresholds": {"min_recovery": 2}}, "thresholds.min_recovery"),
        ({"thresholds": {"min_recovery_low": 0.95}}, "thresholds"),
        ({"thresholds": {"languages": {"zh": {"wer": 1}}}}, "thresholds.languages.zh.wer"),
        ({"recipe": {"emulate": True}, "promote": "auto"}, None),
    ],
)
def test_a_bad_value_is_400_with_its_field(client, quantizing, body, param):
    answer = client.post("/quantize", json=body)
    message = envelope(answer, 400, "invalid_value", (answer.json()["error"]["param"]))
    told = answer.json()["error"]["param"]
    assert told == param or (param and (told or "").startswith(f"{param}."))
    assert "Value error" not in message
    assert "pydantic" not in message
    assert quantizing.orders == []


def test_what_intake_refuses_is_told_with_its_field_and_code(client, quantizing):
    quantizing.refusal = BadField("It lies outside.", param="proof", code="path_not_allowed")
    answer = client.post("/quantize", json={})
    assert envelope(answer, 400, "path_not_allowed", "proof") == "It lies outside."


@pytest.mark.parametrize("size", [2**20 + 1, 2**22])
def test_a_body_without_measure_is_refused(client, quantizing, size):
    answer = client.post("/quantize", content=b'{"model": "' + b"x" * size)
    assert "longer than" in envelope(answer, 400, "invalid_body")
    assert quantizing.orders == []


def test_too_many_orders_are_429_and_told_when_to_come_back(client, context, tmp_path):
    context.quantization = FakeQuantizing(tmp_path / "few", most_waiting=1)
    statuses = [client.post("/quantize", json={"model": f"x/{n}"}).status_code for n in range(3)]
    assert statuses[0] == 202
    answer = client.post("/quantize", json={"model": "x/last"})
    envelope(answer, 429, "too_many_jobs")
    assert int(answer.headers["retry-after"]) > 0


def test_a_disk_without_room_is_503(client, monkeypatch):
    def no_space(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.jobs.records.write_json", no_space)
    answer = client.post("/quantize", json={})
    envelope(answer, 503, "record_not_kept")
    assert answer.headers["retry-after"]


def test_before_the_service_is_up_it_is_503(client, context):
    context.quantization = None
    answer = client.get("/quantize")
    envelope(answer, 503, "not_ready")
    assert answer.headers["retry-after"]
    envelope(client.get("/quantize", headers={"authorization": "Bearer no"}), 401)


def test_where_another_server_has_the_jobs_it_is_503(client, context, tmp_path):
    context.quantization = FakeQuantizing(tmp_path / "jobs")  # over the folder of the first
    for method, path in ROUTES:
        answer = client.request(method, path.format(id="qjob_1"))
        assert "Another server" in envelope(answer, 503, "jobs_elsewhere")
        assert answer.headers["retry-after"]


def test_json_nested_too_deep_is_400(client):
    envelope(client.post("/quantize", content=b"[" * 100_000), 400, "invalid_body")


@pytest.mark.parametrize("content", [rb'{"\ud800": 1}', rb'{"thresholds": {"\udfff": 1}}'])
def test_a_name_that_is_no_text_is_400(client, content):
    assert client.post("/quantize", content=content).status_code == 400


def test_a_number_without_bound_does_not_break_the_list(client):
    client.post("/quantize", content=b'{"thresholds": {"max_nll_increase": 1e999}}')
    assert client.get("/quantize").status_code == 200


# Jobs


def test_jobs_are_told_the_newest_first_and_one_by_one(client):
    assert client.get("/quantize").json() == {"object": "list", "data": []}
    first, second = (client.post("/quantize", json={"model": n}).json()["id"] for n in "ab")
    listed = client.get("/quantize").json()
    assert listed["object"] == "list"
    assert [job["id"] for job in listed["data"]] == [second, first]
    assert client.get(f"/quantize/{first}").json() == listed["data"][1]


def test_the_words_calibrated_on_are_in_the_job_and_not_in_the_list(client, quantizing):
    name = client.post("/quantize", json={}).json()["id"]
    heard = {"recordings": 1, "languages": {"en": 1}, "texts": [{"language": "en", "text": "x"}]}
    quantizing.jobs.get(name).facts["checkpoint"] = {"calibration": heard}
    assert client.get(f"/quantize/{name}").json()["checkpoint"]["calibration"] == heard
    (listed,) = client.get("/quantize").json()["data"]
    assert listed["checkpoint"]["calibration"] == {"recordings": 1, "languages": {"en": 1}}


def test_a_running_job_tells_its_stage_and_progress(client):
    name = client.post("/quantize", json={}).json()["id"]
    deadline = time.monotonic() + 60
    while not (job := client.get(f"/quantize/{name}").json())["progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert (job["status"], job["stage"]) == ("running", "quantizing")
    assert job["progress"] == {"done": 1, "total": 2, "eta_seconds": 3.5}
    assert job["started_at"]


def test_a_proven_job_tells_what_was_made_and_proven(client, done):
    job = done()
    assert (job["status"], job["error"]) == ("proven", None)
    assert job["checkpoint"]["fingerprint"] == "f" * 16
    assert job["proof"]["passed"]
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_a_rejected_and_a_failed_job_say_why(client, done):
    assert done("rejected")["proof"]["reasons"] == ["en: too bad"]
    failed = done("failed")
    assert (failed["status"], failed["error"]) == (
        "failed",
        {"code": "out_of_memory", "message": "None is left.", "advice": "Buy some."},
    )


@pytest.mark.parametrize("name", ["qjob_none", "..%2f..%2fetc%2fpasswd", "%00", "船"])
def test_a_job_that_is_not_there_is_404(client, name):
    for method, path in ROUTES:
        if "{id}" in path:
            answer = client.request(method, path.format(id=name))
            assert answer.status_code == 404, (method, path)
            assert set(answer.json()) == {"error"}
            if name == "qjob_none":
                envelope(answer, 404, "job_not_found", "id")


def test_a_record_of_another_version_does_not_hide_the_others(client, context, tmp_path):
    name = client.post("/quantize", json={}).json()["id"]
    path = tmp_path / "jobs" / f"{name}.json"
    other = json.loads(path.read_text()) | {"id": "qjob_other", "status": "proven", "request": {}}
    path.with_name("qjob_other.json").write_text(json.dumps(other))
    context.quantization.jobs.leave()
    context.quantization = FakeQuantizing(tmp_path / "jobs")
    listed = client.get("/quantize").json()["data"]
    assert name in [job["id"] for job in listed]


def test_a_job_is_cancelled_and_resumed(client, quantizing, done):
    name = client.post("/quantize", json={}).json()["id"]
    answer = client.delete(f"/quantize/{name}")
    assert answer.status_code == 200
    assert until_over(client, name)["status"] == "cancelled"
    envelope(client.delete(f"/quantize/{name}"), 409, "conflict")
    quantizing.go.set()
    answer = client.post(f"/quantize/{name}/resume")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert until_over(client, name)["status"] == "proven"
    envelope(client.post(f"/quantize/{name}/resume"), 409, "conflict")


def test_a_job_that_is_over_is_deleted_and_not_cancelled_by_that(client, quantizing, done):
    name = client.post("/quantize", json={"model": "waits"}).json()["id"]
    envelope(client.delete(f"/quantize/{name}/record"), 409, "conflict")
    assert client.get(f"/quantize/{name}").json()["status"] in ("queued", "running")
    name = done()["id"]
    answer = client.delete(f"/quantize/{name}/record")
    assert answer.status_code == 200
    assert answer.json() == {"id": name, "object": "quantization.job", "deleted": True}
    envelope(client.get(f"/quantize/{name}"), 404, "job_not_found", "id")
    envelope(client.delete(f"/quantize/{name}/record"), 404, "job_not_found", "id")
    assert name not in [job["id"] for job in client.get("/quantize").json()["data"]]


# Promoting


@pytest.mark.parametrize("content", [b"", b"{}", b'{"canaries": null}'])
def test_promoting_is_202_and_shows_in_the_job(client, quantizing, done, content):
    name = done()["id"]
    answer = client.post(f"/quantize/{name}/promote", content=content)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    job = until_over(client, name)
    assert (job["status"], job["promoted_at"], job["error"]) == ("promoted", 5, None)
    assert quantizing.promoted == [None]


def test_own_canaries_are_passed_on_and_a_failure_shows_in_the_job(client, quantizing, done):
    name = done()["id"]
    body = {"canaries": {"sources": {"source": "mine", "language": "zh"}}}
    assert client.post(f"/quantize/{name}/promote", json=body).status_code == 202
    job = until_over(client, name)
    assert (job["status"], job["error"]["code"]) == ("proven", "canary_failed")
    assert quantizing.promoted[0].sources[0].language == "zh"


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [(b"{", "invalid_body", None), (b"[]", "invalid_value", None),
     (b'{"force": true}', "invalid_value", "force"),
     (b'{"canaries": {"sources": []}}', "invalid_value", "canaries.sources"),
     (b'{"canaries": {"sources": "x", "samples": 0}}', "invalid_value", "canaries.samples")],
)  # fmt: skip
def test_a_bad_promotion_is_400(client, quantizing, done, content, code, param):
    answer = client.post(f"/quantize/{done()['id']}/promote", content=content)
    envelope(answer, 400, code, param)
    assert quantizing.promoted == []


def test_a_promotion_that_does_not_go_with_how_things_stand_is_409(client, quantizing, done):
    name = done()["id"]
    quantizing.refusal = JobConflict("Never.", code="never_promoted")
    assert envelope(client.post(f"/quantize/{name}/promote"), 409, "never_promoted") == "Never."


def test_rolling_back_says_what_is_served(client):
    answer = client.post("/models/rollback")
    assert answer.json() == {
        "object": "model.rollback",
        "fingerprint": None,
        "scheme": "unquantized",
    }


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(JobConflict("Nothing was promoted.", code="no_promotion"), 409),
     (OutOfMemory("None is left.", "Buy some."), 500)],
)  # fmt: skip
def test_a_rollback_that_is_not_done_says_why(client, quantizing, refusal, status):
    quantizing.refusal = refusal
    assert envelope(client.post("/models/rollback"), status, refusal.code) == refusal.message


# Events


def events_of(text):
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def test_events_are_typed_and_end_with_the_status_and_done(client, done):
    name = done()["id"]
    answer = client.get(f"/quantize/{name}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    *events, last = events_of(answer.text)
    assert last == "[DONE]"
    events = [json.loads(event) for event in events]
    kinds = ["stage", "progress", "facts", "status"]
    assert [event["type"] for event in events] == [f"quantization.job.{kind}" for kind in kinds]
    assert events[0]["stage"] == "quantizing"
    assert (events[1]["done"], events[1]["loss"]) == (1, 0.25)
    assert events[2]["facts"] == ["checkpoint", "proof"]
    assert events[3]["status"] == "proven"


def test_events_come_while_the_job_runs_to_several_and_one_may_leave(context, quantizing):
    with serving(build_app(context)) as url:
        name = httpx.post(f"{url}/quantize", json={}, headers=KEY).json()["id"]
        events = f"{url}/quantize/{name}/events"

        def lines(answer):
            return (line for line in answer.iter_lines() if line.startswith("data: "))

        with httpx.stream("GET", events, headers=KEY, timeout=60) as stays:
            heard = lines(stays)
            with httpx.stream("GET", events, headers=KEY, timeout=60) as leaves:
                leaving = lines(leaves)
                for first in (next(heard), next(leaving)):
                    assert json.loads(first[6:])["type"] == "quantization.job.stage"
                assert "progress" in next(leaving)
            assert "progress" in next(heard)
            quantizing.go.set()
            rest = list(heard)
        assert json.loads(rest[-2][6:])["status"] == "proven"
        assert rest[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    "settings",
    [{"admin_key": "chief", "stream_heartbeat_seconds": 0.02}],
)
def test_a_silent_job_is_heard_to_be_alive(context, quantizing):
    with serving(build_app(context)) as url:
        name = httpx.post(f"{url}/quantize", json={}, headers=KEY).json()["id"]
        events = f"{url}/quantize/{name}/events"
        with httpx.stream("GET", events, headers=KEY, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith(":"))
            quantizing.go.set()
            assert [line for line in lines if line][-1] == "data: [DONE]"


# The report


def test_a_report_is_a_page_or_json_by_what_is_accepted(client, done):
    path = f"/quantize/{done()['id']}/report"
    page = client.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.lstrip().lower().startswith("<!doctype html>")
    assert client.get(path).headers["content-type"].startswith("text/html")
    data = client.get(path, headers={"accept": "application/json"})
    assert data.headers["content-type"] == "application/json"
    assert data.json() == proof().model_dump(mode="json")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1:8100", "127.0.0.1:8100/quantize/"),
        ("[::1]:8100", "[::1]:8100/quantize/"),
        ("speech.example", "speech.example/quantize/"),
        ("x;rm -r ~", "testserver/quantize/"),  # Starlette's own doubt
        ("-ofile", "localhost:8000/quantize/"),
        ("$(id)", "localhost:8000/quantize/"),
    ],
)
def test_a_report_is_asked_for_again_where_it_was_asked_for(client, done, host, told):
    path = f"/quantize/{done()['id']}/report"
    text = client.get(path, headers={"host": host}).text
    assert f"\\\n  {told}" in text
    assert "rm -r" not in text


def test_a_report_that_is_not_there_yet_is_409(client):
    name = client.post("/quantize", json={}).json()["id"]
    envelope(client.get(f"/quantize/{name}/report"), 409, "no_proof")


def basic(name, password):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize("name", ["", "chief", "anybody"])
def test_a_browser_may_give_the_key_as_a_password_for_the_report(client, done, name):
    path = f"/quantize/{done()['id']}/report"
    assert client.get(path, headers=basic(name, "chief")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [basic("chief", "wrong"), basic("chief", ""), basic("x", "first"),
     {"authorization": "Bearer wrong"}, {"authorization": "Bearer first"}, {"authorization": ""},
     {"authorization": "Digest chief"}],
)  # fmt: skip
def test_another_is_asked_for_a_password(client, done, headers):
    answer = client.get(f"/quantize/{done()['id']}/report", headers=headers)
    envelope(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "chief" not in answer.text


@pytest.mark.parametrize("given", ["Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode()])
def test_a_password_that_cannot_be_read_is_answered_as_a_wrong_one(client, done, given):
    answer = client.get(f"/quantize/{done()['id']}/report", headers={"authorization": given})
    envelope(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'Basic realm="marlinscribe"'


@pytest.mark.parametrize("settings", [{"admin_key": "船長"}])
def test_a_password_may_be_any_text(client, quantizing):
    """No job need be there: 404 is of somebody who may ask."""
    answer = client.get("/quantize/none/report", headers=basic("x", "船長"))
    assert answer.status_code == 404


# Who may


def every_route(client, **kwargs):
    """An answer of each, for a job that is not there."""
    for method, path in ROUTES:
        yield path, client.request(method, path.format(id="qjob_none"), **kwargs)


@pytest.mark.parametrize(
    "headers",
    [{"authorization": ""}, {"authorization": "Bearer first"}, {"authorization": "Bearer chie"},
     {"authorization": "Bearer chief2"}, {"authorization": "chief"}],
    ids=["none", "an api key", "too short", "too long", "no scheme"],
)  # fmt: skip
def test_admin_routes_take_the_admin_key_alone(client, quantizing, headers):
    for _, answer in every_route(client, headers=headers):
        envelope(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"]
        assert "chief" not in answer.text
    assert (quantizing.orders, quantizing.promoted) == ([], [])


def test_a_password_opens_the_report_and_nothing_else(client):
    for path, answer in every_route(client, headers=basic("x", "chief")):
        if path.endswith("report"):
            envelope(answer, 404, "job_not_found", "id")
        else:
            envelope(answer, 401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("settings", [{"api_keys": "first"}, {}], ids=["api keys", "open"])
def test_without_an_admin_key_admin_routes_are_closed(client):
    for key in ("first", "chief", "", "None"):
        for _, answer in every_route(client, headers={"authorization": f"Bearer {key}"}):
            assert "MARLINSCRIBE_ADMIN_KEY" in envelope(answer, 403, "admin_closed")


@pytest.mark.parametrize("path", ["/quantize", "/quantize/x/promote"])
def test_the_key_is_asked_for_before_the_body_is_read(context, quantizing, path):
    """The headers promise a body of which nothing comes."""
    with serving(build_app(context)) as url:
        answer = sent(url, path, "content-length: 1000000", "authorization: Bearer first")
    assert answer.startswith(b"HTTP/1.1 401")


def test_closed_routes_do_not_read_the_body_either(context, quantizing):
    context.settings = Settings(api_keys="first")
    with serving(build_app(context)) as url:
        answer = sent(url, "/quantize", "content-length: 1000000", "authorization: Bearer chief")
    assert answer.startswith(b"HTTP/1.1 403")


def test_an_announced_size_without_measure_is_refused_as_it_comes(context, quantizing):
    with serving(build_app(context)) as url:
        length = 2**24
        head = f"content-length: {length}", "authorization: Bearer chief"
        answer = sent(url, "/quantize", *head, content=b" " * (2**20 + 1))
    assert answer.startswith(b"HTTP/1.1 400")


def sent(url, path, *headers, content=b""):
    """What comes back where `content` is all that is sent of the body."""
    head = [f"POST {path} HTTP/1.1", "host: x", *headers, "content-type: application/json"]
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 60) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + content)
        return connection.recv(10_000)


def test_a_client_that_leaves_while_it_orders_is_no_defect(context, quantizing, caplog):
    app = build_app(context)
    told = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        told.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/quantize", "raw_path": b"/quantize",
        "query_string": b"", "headers": [(b"authorization", b"Bearer chief")], "root_path": "",
        "scheme": "http", "server": ("x", 80), "client": ("y", 1), "http_version": "1.1",
        "asgi": {"version": "3.0"}, "state": {}, "extensions": {},
    }  # fmt: skip
    try:
        asyncio.run(app(scope, receive, send))
    finally:
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


# The description


@pytest.fixture
def described(client):
    return client.get("/openapi.json").json()


def test_every_route_is_described_with_its_errors_and_key(described):
    expected = {
        ("POST", "/quantize"): {"200", "202", "400", "401", "403", "429", "503"},
        ("GET", "/quantize"): {"200", "401", "403"},
        ("GET", "/quantize/{id}"): {"200", "401", "403", "404"},
        ("DELETE", "/quantize/{id}"): {"200", "401", "403", "404", "409"},
        ("DELETE", "/quantize/{id}/record"): {"200", "401", "403", "404", "409", "503"},
        ("POST", "/quantize/{id}/resume"): {"202", "401", "403", "404", "409"},
        ("GET", "/quantize/{id}/events"): {"200", "401", "403", "404"},
        ("POST", "/quantize/{id}/promote"): {"202", "400", "401", "403", "404", "409"},
        ("GET", "/quantize/{id}/report"): {"200", "401", "403", "404", "409"},
        ("POST", "/models/rollback"): {"200", "401", "403", "409", "503"},
    }
    assert set(expected) == set(ROUTES)
    for (method, path), statuses in expected.items():
        operation = described["paths"][path][method.lower()]
        assert statuses <= set(operation["responses"]), path
        assert "422" not in operation["responses"]
        assert operation["description"]
        schemes = {name for one in operation["security"] for name in one}
        assert "admin key" in schemes
        assert ("admin password" in schemes) == path.endswith("report")


def test_bodies_are_described_and_references_lead_somewhere(described):
    order = described["paths"]["/quantize"]["post"]["requestBody"]
    assert order["required"]
    schema = order["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(QuantizationRequest.model_fields)
    promotion = described["paths"]["/quantize/{id}/promote"]["post"]["requestBody"]
    assert not promotion["required"]
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(described)):
        place = described
        for step in reference.split("/"):
            place = place[step]


def valid(described, schema, body):
    jsonschema.validate(body, {**schema, "components": described["components"]})


def schema_of(described, path, method="get", status="200"):
    content = described["paths"][path][method]["responses"][status]["content"]
    return content["application/json"]["schema"]


def test_an_order_is_as_described(described):
    schema = described["paths"]["/quantize"]["post"]["requestBody"]["content"]
    schema = schema["application/json"]["schema"]
    for body in (
        {},
        {"model": "x", "recipe": {"components": {"encoder.mlp": "none"}, "group_size": "channel"}},
        {"recipe": {"layers": {"decoder.layers.[0-2].*": "W4A16 g32", "*.fc2": "none"}}},
        {"calibration": {"sources": [{"source": "x"}], "samples": None}},
        {"recipe": {"scheme": "auto", "scenario": "latency", "most_loss": 0.02}},
        QuantizationRequest(model="x", proof=PROOF).as_json(),
    ):
        QuantizationRequest.model_validate(body)
        valid(described, schema, body)
    for body in ({"promote": "later"}, {"more": 1}, {"recipe": {"scheme": "W5A16"}},
                 {"recipe": {"layers": {"*": "W5A16"}}}, {"recipe": {"scheme": "auto"}},
                 {"recipe": {"scheme": "auto", "scenario": "latency", "layers": {}}}):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            valid(described, schema, body)


@pytest.mark.parametrize("sources", ["here", ["here"], {"source": "here"}])
def test_sources_in_short_are_as_described(described, sources):
    content = described["paths"]["/quantize"]["post"]["requestBody"]["content"]
    body = {"proof": {"sources": sources}}
    QuantizationRequest.model_validate(body)
    valid(described, content["application/json"]["schema"], body)


def test_jobs_are_as_described_whatever_became_of_them(client, described, done):
    names = [done()["id"], done("failed")["id"], done("rejected")["id"]]
    client.post(f"/quantize/{names[0]}/promote")
    until_over(client, names[0])
    for name in names:
        valid(
            described,
            schema_of(described, "/quantize/{id}"),
            client.get(f"/quantize/{name}").json(),
        )
    valid(described, schema_of(described, "/quantize"), client.get("/quantize").json())
    again = client.post("/quantize", json={"model": MODEL})
    assert again.status_code == 200
    valid(described, schema_of(described, "/quantize", "post"), again.json())
    valid(described, schema_of(described, "/quantize", "post", "202"), again.json())
    gone = client.delete(f"/quantize/{names[1]}/record").json()
    valid(described, schema_of(described, "/quantize/{id}/record", "delete"), gone)
    back = client.post("/models/rollback").json()
    valid(described, schema_of(described, "/models/rollback", "post"), back)


def test_errors_are_as_described(client, described, done):
    answers = [
        ("/quantize", "post", client.post("/quantize", json={"promote": 1})),
        ("/quantize", "get", client.get("/quantize", headers={"authorization": ""})),
        ("/quantize/{id}", "get", client.get("/quantize/none")),
        ("/quantize/{id}", "delete", client.delete(f"/quantize/{done()['id']}")),
    ]
    assert [answer.status_code for *_, answer in answers] == [400, 401, 404, 409]
    for path, method, answer in answers:
        schema = schema_of(described, path, method, str(answer.status_code))
        valid(described, schema, answer.json())


@pytest.mark.parametrize("settings", [{"admin_key": "chief"}])
def test_the_admin_key_is_described_also_where_clients_need_none(described):
    for method, path in ROUTES:
        operation = described["paths"][path][method.lower()]
        assert operation["security"]
        assert "401" in operation["responses"]


def test_a_method_that_is_none_is_told_all_that_are(client):
    answer = client.put("/quantize")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
