"""The story of a job: made and proven by script, promoted and rolled back for real."""

import asyncio
import json
import shutil
import threading
from collections import namedtuple
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import app.main
import app.quantization.promotion_log
import app.quantization.proving
import app.quantization.service
from app.checkpoints.cache import checkpoints
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store
from app.errors import (
    BadField,
    CanaryFailed,
    EngineFailed,
    JobConflict,
    OutOfMemory,
    UnknownJob,
    UnknownModel,
)
from app.metrics import Metrics
from app.quantization.promotion_log import PromotionLog
from app.quantization.quantizer_process import Quantizer
from app.quantization.request import QuantizationRequest
from app.quantization.service import Quantization
from app.quantization.validation import ValidatedRequest
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.lifecycle import Stage
from app.serving.manager import EngineManager
from app.serving.state import ServiceState
from app.settings import Settings
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint
from tests.quantization.fakes import Decoding, Says, proof, recordings
from tests.serving.fakes import FakeLoader, Request
from tests.waiting import turns, until

pytestmark = pytest.mark.anyio

RTN = Recipe(method="rtn")
Dist = namedtuple("Dist", "name version")


class House:
    """A service whose engines, and whose making and proving, go by script.

    `make(name)` puts a checkpoint into the cache, and gives its order. `says` is what every engine
    hears; `reasons`, `fault` and `gate` are of the next proof.
    """

    def __init__(self, folder, monkeypatch, **settings):
        self.folder, self.model = folder, folder / "asked"
        self.model.mkdir()
        write_checkpoint(self.model)
        self.cache = folder / "cache"
        self.recordings = recordings(folder / "proof", ("mayday", "en"), ("求救", "zh"))
        self.settings = {"model": str(self.model), "quantization": "none", "cache_dir": self.cache,
                         "data_roots": str(folder), "device": "cpu", "vad": False,
                         "while_quantizing": "serve"} | settings  # fmt: skip
        self.says: Any = Says(en="mayday", zh="求救")
        self.used_since: Any = None  # as the last job has it
        self.reasons, self.fault, self.gate, self.asked = (), None, None, []
        self.jobs, self.decoders = None, Decoding()
        monkeypatch.setattr(app.quantization.service, "run_job", self._make_and_prove)
        self.start()

    def start(self):
        """Another process over the same cache; nothing serves yet."""
        if self.jobs:
            self.jobs.leave()
        settings = Settings(**self.settings)
        self.slot = ServiceState(settings, Metrics()).default
        self.loader = FakeLoader(settings)
        self.loader.make = lambda checkpoint: self.says
        self.host = EngineManager(self.slot, self.loader)
        self.quantization = Quantization(self.loader, [self.host], self.decoders)
        self.jobs = self.quantization.jobs

    async def open(self):
        checkpoint = self.quantization.checkpoint(self.slot.name, lambda *_, **__: None)
        await self.host.open(checkpoint)

    def make(self, name):
        def fill(out):
            shutil.copy(self.model / "config.json", out)
            (out / "model.safetensors").write_bytes(name.encode())
            return {"seconds": 1}

        source = Source(name, self.model, "")
        Store(self.cache).get_or_make(source, RTN, {"name": name}, fill)
        return self.request(name)

    def request(self, name, **more):
        given = {"recipe": RTN, "proof": Recordings(sources=self.recordings, samples=None)} | more
        return QuantizationRequest(model=name, **given)

    def entry(self, name):
        (folder,) = (self.cache / "checkpoints").glob(f"{name}-*")
        return Store(self.cache).find(folder.name.rsplit("-", 1)[1])

    async def _make_and_prove(
        self, request, loader, reporter, idle_priority, known, by, used_since
    ):
        self.decoded_by, self.used_since = by, used_since
        self.asked.append(known.get("asked"))
        reporter.stage("quantizing")
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        entry = self.entry(request.model)
        reporter.facts(checkpoint={"fingerprint": entry.fingerprint})
        return Checkpoint.of(entry), proof(*read(request.proof), reasons=self.reasons)

    @asynccontextmanager
    async def working(self):
        task = asyncio.create_task(self.jobs.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.quantization.close()

    def taking(self, monkeypatch, content_hashes=()):
        """Have orders taken unseen; what they are keyed by beside themselves."""
        keyed = []

        def completed(request, versions, decode):
            keyed.append(versions)
            return ValidatedRequest(request, str(request), dict(content_hashes))

        monkeypatch.setattr(Quantizer, "versions", lambda self: {"llmcompressor": "1"})
        monkeypatch.setattr(self.quantization._validator, "completed", completed)
        return keyed

    def submit(self, request):
        return self.jobs.submit(request.as_json(), str(request))[0]

    async def proven(self, name, **more):
        """A job that is over, by default proven."""
        self.make(name)
        job = self.submit(self.request(name, **more))
        await over(job)
        return job

    async def promoted(self, name):
        job = await self.proven(name)
        await self.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, job.error) == ("promoted", None)
        return job

    @property
    def serving(self):
        """What clients get. Raises NotReady. No other engine is there."""
        name = self.slot.ready().name
        assert self.loader.running == [name]
        return name

    async def settled(self):
        """When nothing is exchanged any more."""
        await turns()
        await until(lambda: not self.host.busy)
        await turns()


async def over(*jobs):
    await until(lambda: not any(job.status.active for job in jobs))


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def house(tmp_path, monkeypatch, settings):
    return House(tmp_path, monkeypatch, **settings)


@asynccontextmanager
async def under_way(house):
    """A request that does not end before it is told to."""
    request = Request(house.slot, asyncio.Event())
    task = asyncio.create_task(request())
    await until(lambda: house.slot.admission.under_way)
    try:
        yield request
    finally:
        request.end.set()
        await asyncio.gather(task, return_exceptions=True)


# Proving


async def test_a_proven_job_has_a_report_and_is_not_served_unasked(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        assert (job.status, job.error) == ("proven", None)
        assert job.facts["proof"]["passed"]
        assert (await house.quantization.report(job)).passed
        assert house.serving == "asked"


async def test_a_job_is_told_whether_an_engine_that_serves_was_used_meanwhile(house):
    await house.open()
    async with house.working():
        await house.proven("a")
        engine = house.loader.loaded[0].loaded.engine
        engine.used = 5.0
        assert (house.used_since(4.0), house.used_since(6.0)) == (True, False)
        engine.windows = 1
        assert house.used_since(6.0)
        engine.stop()
        assert not house.used_since(4.0)


async def test_a_report_that_is_not_there_yet_is_a_conflict(house):
    job = house.submit(house.make("a"))
    with pytest.raises(JobConflict, match="no proof yet") as caught:
        await house.quantization.report(job)
    assert caught.value.code == "no_proof"


async def test_what_another_version_wrote_is_a_conflict_that_says_so(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        (house.cache / "reports" / f"{job.id}.json").write_text('{"passed": true}')
        job.request["recipe"]["sauce"] = "secret"
        for ask in (house.quantization.report(job), house.quantization.promote(job.id, None)):
            with pytest.raises(JobConflict, match="another version") as caught:
                await ask
            assert caught.value.code == "another_version"
        again, _ = house.jobs.submit(job.request, "another")
        await over(again)
        assert (again.status, again.error["code"]) == ("failed", "another_version")


async def test_a_rejected_job_says_why_and_is_not_promoted(house):
    await house.open()
    house.reasons = ("en: recovery 50.0%, under 90.0%",)
    async with house.working():
        for promote in ("manual", "auto"):
            job = await house.proven(f"a-{promote}", promote=promote)
            assert job.status == "rejected"
            assert job.facts["proof"]["reasons"] == list(house.reasons)
            assert not (await house.quantization.report(job)).passed
            with pytest.raises(JobConflict, match="rejected"):
                await house.quantization.promote(job.id, None)
        assert house.serving == "asked"


async def test_a_job_that_fails_leaves_what_serves(house):
    await house.open()
    house.fault = OutOfMemory("none left", "buy")
    async with house.working():
        job = await house.proven("a")
        assert (job.status, job.error["code"]) == ("failed", "out_of_memory")
        assert house.serving == "asked"


async def test_the_key_of_a_job_is_of_all_that_decides_its_proof(house, monkeypatch):
    keyed = house.taking(monkeypatch)
    monkeypatch.setattr(app.quantization.proving, "distributions", lambda: [Dist("vllm", "9")])
    await house.quantization.submit(house.make("a"))
    (found,) = keyed
    assert found == app.quantization.proving.versions(house.loader, house.quantization._builder)
    assert found["vllm"] == "9"
    assert {"llmcompressor", "device", "cutting", "linear_backend"} <= found.keys()


async def test_a_job_is_begun_with_what_its_files_were_when_it_was_asked_for(house, monkeypatch):
    await house.open()
    content_hashes = {"source": {"model.safetensors": "abc"}, "proof": "def"}
    house.taking(monkeypatch, content_hashes)
    async with house.working():
        job, _ = await house.quantization.submit(house.make("a"))
        await over(job)
    assert (job.status, house.asked) == ("proven", [content_hashes])


# Promoting


async def test_promoting_serves_the_candidate_and_a_restart_does_too(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        assert house.serving == "a"
        facts = house.slot.model.facts
        assert (facts["job"], facts["promoted_at"]) == (job.id, job.facts["promoted_at"])
        assert facts["proof"]["passed"]
    house.start()
    await house.open()
    assert house.serving == "a"
    assert house.jobs.get(job.id).status == "promoted"


async def test_the_kept_canaries_are_heard_although_the_recordings_are_gone(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        shutil.rmtree(house.recordings)
        await house.quantization.promote(job.id, None)
        await over(job)
    assert job.status == "promoted"
    assert {options.languages for options in house.says.asked} == {("en",), ("zh",)}


async def test_auto_promotes_what_is_proven(house):
    await house.open()
    async with house.working():
        job = await house.proven("a", promote="auto")
        assert (job.status, house.serving) == ("promoted", "a")


async def test_promoting_another_makes_the_first_proven_again(house):
    await house.open()
    async with house.working():
        first, second = await house.promoted("a"), await house.promoted("b")
        assert (first.status, second.status) == ("proven", "promoted")
        assert first.facts["demoted_at"]
        assert house.serving == "b"


async def test_where_canaries_fail_the_old_one_serves_and_the_job_is_proven(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        house.says = Says(en="thank you for watching", zh="求救")
        await house.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, job.error["code"]) == ("proven", CanaryFailed.code)
        assert job.error["advice"]
        assert house.serving == "asked"
        house.says = Says(en="mayday", zh="求救")
        await house.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, job.error) == ("promoted", None)


@pytest.mark.parametrize("log_level", ["DEBUG", "INFO"])
async def test_what_a_canary_said_is_in_the_jobs_record_and_not_in_the_log(
    house, caplog, log_level
):
    caplog.set_level(log_level)
    await house.open()
    async with house.working():
        job = await house.proven("a")
        house.says = Says(en="thank you for watching", zh="求救")
        await house.quantization.promote(job.id, None)
        await over(job)
    record = (house.cache / "jobs" / f"{job.id}.json").read_text("utf-8")
    assert "'mayday' was heard as 'thank you for watching'" in record
    assert "differ by" in caplog.text
    for said in ("mayday", "thank you for watching"):
        assert said not in caplog.text


@pytest.mark.parametrize(
    ("fault", "code"),
    [(EngineFailed("no", "way"), "engine_failed"), (KeyError("a defect"), "internal_error")],
)
async def test_where_auto_promotion_fails_the_job_is_proven(house, fault, code):
    await house.open()
    house.loader.faults["a"] = fault
    async with house.working():
        job = await house.proven("a", promote="auto")
        assert (job.status, job.error["code"]) == ("proven", code)
        assert house.serving == "asked"
    house.start()
    await house.open()
    assert house.serving == "asked"


async def test_own_canaries_are_heard_in_place_of_the_proofs(house):
    await house.open()
    own = recordings(house.folder / "own", ("something else", "en"))
    async with house.working():
        job = await house.proven("a")
        await house.quantization.promote(job.id, Recordings(sources=own))
        await over(job)
        assert (job.status, job.error["code"]) == ("proven", "canary_failed")
        assert "something else" in job.error["message"]


async def test_strangers_recordings_are_decoded_where_requests_are(house, monkeypatch):
    """They are files of other people, as uploads are."""
    await house.open()
    own = recordings(house.folder / "own", ("mayday", "en"))
    monkeypatch.setattr(Quantizer, "versions", lambda self: {"llmcompressor": "1"})
    async with house.working():
        job = await house.proven("a")
        assert house.decoded_by is house.decoders
        await house.quantization.submit(house.request(str(house.model)))
        assert house.decoders.decoded == 2  # the proof's recordings are tried
        await house.quantization.promote(job.id, Recordings(sources=own))
        await over(job)
        assert (job.status, house.decoders.decoded) == ("promoted", 4)  # tried, and heard


async def test_own_canaries_that_may_not_be_read_change_nothing(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        with pytest.raises(BadField) as caught:
            await house.quantization.promote(job.id, Recordings(sources="/etc"))
        assert caught.value.param == "canaries"
        assert (job.status, house.serving) == ("proven", "asked")


async def test_what_says_never_is_not_promoted(house):
    await house.open()
    async with house.working():
        job = await house.proven("a", promote="never")
        with pytest.raises(JobConflict) as caught:
            await house.quantization.promote(job.id, None)
        assert caught.value.code == "never_promoted"


async def test_what_is_emulated_is_not_promoted(house):
    await house.open()
    async with house.working():
        job = await house.proven("a", recipe=Recipe(method="rtn", emulate=True))
        with pytest.raises(JobConflict) as caught:
            await house.quantization.promote(job.id, None)
        assert caught.value.code == "emulated"


async def test_what_is_promoted_is_not_promoted_again(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        with pytest.raises(JobConflict, match="promoted"):
            await house.quantization.promote(job.id, None)


async def test_nothing_is_promoted_before_the_service_is_up(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
    house.start()
    with pytest.raises(JobConflict) as caught:
        await house.quantization.promote(job.id, None)
    assert caught.value.code == "not_ready"


async def test_nothing_is_promoted_while_another_is_exchanged(house):
    await house.open()
    async with house.working():
        first, second = await house.proven("a"), await house.proven("b")
        house.loader.gate = asyncio.Event()
        await house.quantization.promote(first.id, None)
        await until(lambda: house.host.busy)
        with pytest.raises(JobConflict) as caught:
            await house.quantization.promote(second.id, None)
        assert caught.value.code == "exchange_under_way"
        with pytest.raises(JobConflict):
            await house.quantization.roll_back()
        house.loader.gate.set()
        await over(first)


async def test_a_checkpoint_that_is_gone_is_not_promoted(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        shutil.rmtree(house.entry("a").folder)
        await house.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, job.error["code"]) == ("failed", "cache_unusable")
        assert house.serving == "asked"


async def test_a_checkpoint_that_is_gone_can_be_made_again(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        shutil.rmtree(house.entry("a").folder)
        await house.quantization.promote(job.id, None)
        await over(job)
        _, new = house.jobs.submit(job.request, job.key)
        with suppress(JobConflict):
            new = new or bool(house.jobs.resume(job.id))
        assert new


async def test_a_promotion_that_cannot_be_recorded_does_not_serve(house, monkeypatch):
    await house.open()
    async with house.working():
        job = await house.proven("a")

        def no_space(path, value):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(app.quantization.promotion_log, "write_json", no_space)
        await house.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, job.error["code"]) == ("proven", "disk_full")
        assert house.serving == "asked"


async def test_a_job_promoted_while_canaries_are_read_is_not_promoted_twice(house, monkeypatch):
    await house.open()
    reading, may_end = threading.Event(), threading.Event()

    def slowly(wanted, decode):
        reading.set()
        assert may_end.wait(60)
        return read(wanted)

    async with house.working():
        job = await house.proven("a")
        monkeypatch.setattr(house.quantization._validator, "canaries", slowly)
        own = Recordings(sources=house.recordings)
        late = asyncio.create_task(house.quantization.promote(job.id, own))
        await until(reading.is_set)
        await house.quantization.promote(job.id, None)
        await over(job)
        may_end.set()
        await asyncio.gather(late, return_exceptions=True)
        await over(job)
        await house.quantization.roll_back()
        assert house.serving == "asked"


async def test_a_checkpoint_that_was_thrown_away_is_made_again_when_it_is_asked_for(
    house, monkeypatch
):
    await house.open()
    house.taking(monkeypatch)
    async with house.working():
        job = await house.proven("a")
        request = house.request("a")
        assert await house.quantization.submit(request) == (job, False)
        shutil.rmtree(house.entry("a").folder)
        house.gate = asyncio.Event()
        again, new = await house.quantization.submit(request)
        assert new
        assert again.id != job.id
        assert job.status == "failed"
        house.make("a")
        house.gate.set()
        await over(again)
        assert (again.status, house.serving) == ("proven", "asked")


async def test_a_job_whose_checkpoint_was_thrown_away_says_so(house, monkeypatch):
    await house.open()
    house.taking(monkeypatch)
    async with house.working():
        job = await house.proven("a")
        shutil.rmtree(house.entry("a").folder)
        await house.quantization.submit(house.request("a"))
        assert job.status == "failed"
        assert job.error


# Rolling back


async def test_rolling_back_goes_step_by_step_to_what_the_settings_ask_for(house):
    await house.open()
    async with house.working():
        first, second = await house.promoted("a"), await house.promoted("b")
        served = await house.quantization.roll_back()
        assert served["fingerprint"] == first.facts["checkpoint"]["fingerprint"]
        assert (house.serving, first.status, second.status) == ("a", "promoted", "proven")
        served = await house.quantization.roll_back()
        assert served == {"fingerprint": None, "scheme": "unquantized"}
        assert (house.serving, first.status) == ("asked", "proven")
        with pytest.raises(JobConflict) as caught:
            await house.quantization.roll_back()
        assert caught.value.code == "no_promotion"
    house.start()
    await house.open()
    assert house.serving == "asked"


async def test_what_was_rolled_back_may_be_promoted_again(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        await house.quantization.roll_back()
        await house.quantization.promote(job.id, None)
        await over(job)
        assert (job.status, house.serving) == ("promoted", "a")


async def test_a_crash_during_a_rollback_brings_nothing_back_that_was_rolled_back(
    house, loops_are_not_blocked
):
    """Whenever clients are let in, the next process would serve what they are served."""
    await house.open()
    async with house.working():
        await house.promoted("a")
        await house.promoted("b")
        found = []

        def on_status(status):
            if status.stage is Stage.READY:
                current = PromotionLog(house.loader.settings).current
                found.append(current.fingerprint if current else None)

        house.slot.lifecycle.listen(on_status)
        found.clear()  # it hears at once where the service stands
        first = await house.quantization.roll_back()
        second = await house.quantization.roll_back()
        assert found == [first["fingerprint"], second["fingerprint"]]
    loops_are_not_blocked.clear()  # it is this test that read, where an engine begins to serve


async def test_a_rollback_that_fails_leaves_what_was_promoted(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        house.loader.faults["asked"] = EngineFailed("no", "way")
        with pytest.raises(EngineFailed):
            await house.quantization.roll_back()
        assert (house.serving, job.status) == ("a", "promoted")
    house.start()
    await house.open()
    assert house.serving == "a"


async def test_what_is_rolled_back_is_not_guessed_by_a_name_that_none_has(house):
    await house.open()
    async with house.working():
        await house.promoted("a")
        with pytest.raises(UnknownModel, match="'asked' is"):
            await house.quantization.roll_back("large-v3")
        assert house.serving == "a"
        await house.quantization.roll_back("whisper-1")
        assert house.serving == "asked"


async def test_a_rollback_that_cannot_be_recorded_serves_and_is_told(house, monkeypatch, caplog):
    await house.open()
    async with house.working():
        await house.promoted("a")

        def no_space(path, value):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(app.quantization.promotion_log, "write_json", no_space)
        await house.quantization.roll_back()
        assert house.serving == "asked"
    assert "a restart will serve" in caplog.text


async def test_where_the_checkpoint_before_is_gone_the_settings_is_served(house):
    await house.open()
    async with house.working():
        await house.promoted("a")
        await house.promoted("b")
        shutil.rmtree(house.entry("a").folder)
        await house.quantization.roll_back()
        assert house.serving == "asked"


async def test_a_checkpoint_that_is_gone_is_not_called_promoted(house):
    await house.open()
    async with house.working():
        first, _ = await house.promoted("a"), await house.promoted("b")
        shutil.rmtree(house.entry("a").folder)
        await house.quantization.roll_back()
        assert (house.serving, first.status) == ("asked", "proven")


async def test_a_restart_whose_promoted_checkpoint_is_gone_serves_the_settings(house):
    await house.open()
    async with house.working():
        await house.promoted("a")
        shutil.rmtree(house.entry("a").folder)
    house.start()
    await house.open()
    assert house.serving == "asked"


async def test_a_job_does_not_say_promoted_after_a_start_that_serves_something_else(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        shutil.rmtree(house.entry("a").folder)
    house.start()
    await house.open()
    job = house.jobs.get(job.id)
    assert (house.serving, job.status) == ("asked", "proven")
    assert job.facts["demoted_at"] >= job.facts["promoted_at"]
    with pytest.raises(JobConflict) as caught:  # what is gone is no promotion
        await house.quantization.roll_back()
    assert caught.value.code == "no_promotion"


@pytest.mark.parametrize("step", ["restart", "rollback"])
async def test_what_is_gone_is_passed_over_on_the_way_back(house, step):
    await house.open()
    async with house.working():
        first, second = await house.promoted("a"), await house.promoted("b")
        if step == "rollback":
            await house.promoted("c")
        shutil.rmtree(house.entry("b").folder)
        if step == "rollback":
            await house.quantization.roll_back()
    if step == "restart":
        house.start()
        await house.open()
    assert house.serving == "a"
    statuses = [house.jobs.get(one.id).status for one in (first, second)]
    assert statuses == ["promoted", "proven"]
    await house.quantization.roll_back()
    assert house.serving == "asked"


async def test_what_was_made_by_another_version_does_not_stop_a_start(house, caplog):
    await house.open()
    async with house.working():
        await house.promoted("a")
    path = house.entry("a").folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["recipe"]["sauce"] = "secret"
    path.write_text(json.dumps(manifest))
    house.start()
    await house.open()
    assert house.serving == "asked"
    assert "another version" in caplog.text


async def test_of_two_rollbacks_at_once_one_is_refused_or_goes_a_step_further(house):
    await house.open()
    async with house.working():
        await house.promoted("a")
        await house.promoted("b")
        await asyncio.gather(
            house.quantization.roll_back(), house.quantization.roll_back(), return_exceptions=True
        )
        served = house.serving
    house.start()
    await house.open()
    assert house.serving == served


async def test_of_two_promotions_at_once_one_job_is_promoted_at_the_end(house):
    await house.open()
    async with house.working():
        first, second = await house.proven("a"), await house.proven("b")
        for job in (first, second):
            with suppress(JobConflict):
                await house.quantization.promote(job.id, None)
        await over(first, second)
        await house.settled()
        names = {first.id: "a", second.id: "b"}
        promoted = [names[job.id] for job in (first, second) if job.status == "promoted"]
        assert promoted == [house.serving]


async def test_what_promotes_itself_meanwhile_leaves_one_job_promoted_at_the_end(
    house, monkeypatch
):
    await house.open()
    async with house.working():
        first = await house.proven("a")
        house.loader.gate = asyncio.Event()
        house.loader.loading.clear()
        await house.quantization.promote(first.id, None)
        await house.loader.loading.wait()
        entered, exchange = [], house.host.exchange

        def entering(checkpoint, check):
            entered.append(checkpoint)
            return exchange(checkpoint, check)

        monkeypatch.setattr(house.host, "exchange", entering)
        house.make("b")
        second = house.submit(house.request("b", promote="auto"))
        for _ in range(100):  # it may be refused, or wait for its turn before it comes so far
            if entered or not second.status.active:
                break
            await asyncio.sleep(0.005)
        house.loader.gate.set()
        await over(first, second)
        await house.settled()
        jobs = {"a": first, "b": second}
        promoted = [name for name, job in jobs.items() if job.status == "promoted"]
        assert promoted == [house.serving]


async def test_a_promotion_cancelled_before_its_first_step_keeps_nobody_out(house):
    await house.open()
    async with house.working():
        job = await house.proven("a")
        await house.quantization.promote(job.id, None)
        house.jobs.cancel(job.id)
        await over(job)
        await house.quantization.promote(job.id, None)
        await over(job)
        assert house.serving == "a"


@pytest.mark.parametrize("cause", ["settings", "damage"])
async def test_what_is_no_longer_served_may_be_promoted_again(house, cause):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
    if cause == "settings":
        house.settings["calibration_samples"] = 9
    else:
        (house.cache / "serving.json").write_text("{")
    house.start()
    await house.open()
    assert house.serving == "asked"
    async with house.working():
        await house.quantization.promote(job.id, None)
        await over(house.jobs.get(job.id))
        assert house.serving == "a"


# Cancelling. Where the job may not be cancelled any more, a conflict says so.


async def cancel(house, job):
    with suppress(JobConflict):
        house.jobs.cancel(job.id)


async def test_a_job_cancelled_while_it_is_made_leaves_what_serves(house):
    await house.open()
    house.gate = asyncio.Event()
    async with house.working():
        job = house.submit(house.make("a"))
        await until(lambda: job.stage == "quantizing")
        house.jobs.cancel(job.id)
        await over(job)
        assert (job.status, house.serving) == ("cancelled", "asked")


@pytest.mark.parametrize("when", ["draining", "loading", "hearing"])
async def test_a_promotion_that_is_cancelled_leaves_one_of_both_serving(house, when):
    await house.open()
    async with house.working(), under_way(house) as request:
        job = await house.proven("a")
        if when == "loading":
            house.loader.gate = asyncio.Event()
            house.loader.loading.clear()
        if when == "hearing":
            house.says.gate = asyncio.Event()
        if when != "draining":
            request.end.set()
        await house.quantization.promote(job.id, None)
        if when == "draining":
            await until(lambda: "waiting" in house.slot.lifecycle.status.detail)
        elif when == "loading":
            await house.loader.loading.wait()
        else:
            await until(lambda: house.says.asked)
        await cancel(house, job)
        for gate in (request.end, house.loader.gate, house.says.gate):
            if gate:
                gate.set()
        await over(job)
        await house.settled()
        assert house.serving == {"proven": "asked", "promoted": "a"}[job.status]


@pytest.fixture
def maintained(tmp_path, monkeypatch):
    """A house that makes room for jobs."""
    return House(tmp_path, monkeypatch, while_quantizing="maintenance")


async def test_room_is_made_for_a_job_and_given_back(maintained):
    house = maintained
    await house.open()
    house.gate = asyncio.Event()
    async with house.working():
        house.make("a")
        job = house.submit(house.request("a"))
        await until(lambda: job.stage == "quantizing")
        assert house.slot.status().stage is Stage.MAINTENANCE
        assert house.loader.running == []
        house.gate.set()
        await over(job)
        assert (job.status, house.serving) == ("proven", "asked")


@pytest.mark.parametrize("error", [OutOfMemory("none left", "buy"), KeyError("a defect")])
async def test_room_is_given_back_by_a_job_that_fails(maintained, error):
    await maintained.open()
    maintained.fault = error
    async with maintained.working():
        job = await maintained.proven("a")
        assert (job.status, maintained.serving) == ("failed", "asked")


async def test_room_is_given_back_by_a_job_that_is_cancelled(maintained):
    house = maintained
    await house.open()
    house.gate = asyncio.Event()
    async with house.working():
        job = house.submit(house.make("a"))
        await until(lambda: job.stage == "quantizing")
        house.jobs.cancel(job.id)
        await over(job)
        assert (job.status, house.serving) == ("cancelled", "asked")


async def test_what_is_promoted_by_itself_serves_where_room_was_made(maintained):
    await maintained.open()
    async with maintained.working():
        job = await maintained.proven("a", promote="auto")
        assert (job.status, maintained.serving) == ("promoted", "a")


async def test_where_it_cannot_be_promoted_what_made_room_serves_again(maintained):
    await maintained.open()
    maintained.loader.faults["a"] = EngineFailed("no", "way")
    async with maintained.working():
        job = await maintained.proven("a", promote="auto")
        assert (job.status, maintained.serving) == ("proven", "asked")


async def test_a_job_cancelled_while_room_is_made_gives_it_back(maintained):
    house = maintained
    await house.open()
    async with house.working():
        async with under_way(house):
            job = house.submit(house.make("a"))
            await until(lambda: house.slot.status().stage is Stage.EXCHANGING)
            await cancel(house, job)
            await turns()
        await over(job)
        await house.settled()
        assert house.serving == "asked"


@pytest.mark.parametrize("times", ["once", "twice"])
async def test_a_job_cancelled_while_room_is_given_back_gives_it_back(maintained, times):
    house = maintained
    await house.open()
    house.gate = asyncio.Event()
    async with house.working():
        job = house.submit(house.make("a"))
        await until(lambda: job.stage == "quantizing")
        house.loader.gate = asyncio.Event()
        house.loader.loading.clear()
        if times == "twice":
            await cancel(house, job)
        else:
            house.gate.set()
        await house.loader.loading.wait()
        await cancel(house, job)
        await turns()
        house.loader.gate.set()
        await over(job)
        await house.settled()
        assert house.serving == "asked"


# The end of the process


async def test_a_shutdown_in_maintenance_does_not_load_the_engine_again(maintained, monkeypatch):
    house, loaders = maintained, []

    def loader_for(settings, device):
        loaders.append(FakeLoader(settings, device))
        return loaders[-1]

    monkeypatch.setattr(app.main.WhisperFamily, "prepare", lambda *_: None)
    monkeypatch.setattr(app.main, "Loader", loader_for)
    house.gate = asyncio.Event()
    house.jobs.leave()
    asgi = app.main.create_app(Settings(**house.settings))
    async with asgi.router.lifespan_context(asgi):
        context = asgi.state.context
        await until(lambda: context.state.status().stage is Stage.READY)
        jobs = context.quantization.jobs
        job, _ = jobs.submit(house.make("a").as_json(), "a")
        await until(lambda: job.stage == "quantizing")
        assert context.state.status().stage is Stage.MAINTENANCE
        assert house.decoded_by is context.transcriptions.decoders
    assert job.status == "interrupted"
    assert len(loaders[0].loaded) == 1


async def test_a_kill_right_after_a_promotion_was_recorded_leaves_it_promoted(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
    path = house.cache / "jobs" / f"{job.id}.json"
    killed = json.loads(path.read_text()) | {"status": "running"}
    if "on_failure" in killed:
        killed["on_failure"] = "proven"
    path.write_text(json.dumps(killed))
    house.start()
    await house.open()
    assert (house.serving, house.jobs.get(job.id).status) == ("a", "promoted")


async def test_what_was_interrupted_goes_on_when_it_is_resumed(house):
    await house.open()
    house.gate = asyncio.Event()
    async with house.working():
        job = house.submit(house.make("a"))
        await until(lambda: job.stage == "quantizing")
    assert job.status == "interrupted"
    house.start()
    await house.open()
    house.gate.set()
    async with house.working():
        again = house.jobs.resume(job.id)
        await over(again)
        assert again.status == "proven"
        assert house.serving == "asked"


# Deleting, and what is deleted at a start


async def test_a_job_is_deleted_with_all_it_left_but_its_checkpoint(house):
    await house.open()
    async with house.working():
        job, other = await house.proven("a"), await house.proven("b")
        await house.quantization.delete(job.id)
        left = [path.name for path in house.cache.rglob("*") if job.id in path.name]
        assert left == []
        assert house.entry("a")
        assert (await house.quantization.report(other)).passed
        with pytest.raises(UnknownJob):
            await house.quantization.delete(job.id)


async def test_the_job_whose_checkpoint_serves_is_not_deleted_before_it_is_rolled_back(house):
    await house.open()
    async with house.working():
        job = await house.promoted("a")
        with pytest.raises(JobConflict) as caught:
            await house.quantization.delete(job.id)
        assert caught.value.code == "job_serves"
        await house.quantization.roll_back()
        await house.quantization.delete(job.id)
        assert house.jobs.all() == []


async def test_what_can_be_rolled_back_to_serves_also_without_its_job(house):
    await house.open()
    async with house.working():
        first = await house.promoted("a")
        await house.promoted("b")
        await house.quantization.delete(first.id)
        await house.quantization.roll_back()
        assert house.serving == "a"


async def test_a_job_that_runs_is_not_deleted(house):
    house.gate = asyncio.Event()
    await house.open()
    async with house.working():
        house.make("a")
        job = house.submit(house.request("a"))
        await until(lambda: job.status == "running")
        with pytest.raises(JobConflict, match="running"):
            await house.quantization.delete(job.id)
        house.gate.set()
        await over(job)


async def test_a_start_deletes_what_a_process_that_was_killed_left_half_made(house):
    left = house.cache / "checkpoints" / ".a-1.partial"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    await house.open()
    assert not left.exists()
    assert house.serving == "asked"


async def test_what_serves_is_in_use_and_what_served_before_is_not(house):
    def used():
        return {one.name for one in checkpoints(house.cache) if one.in_use}

    await house.open()
    async with house.working():
        await house.promoted("a")
        assert used() == {"a"}
        await house.promoted("b")
        assert used() == {"b"}
        await house.quantization.roll_back()
        assert used() == {"a"}
