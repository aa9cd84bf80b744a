"""A candidate beside its source: compared by script, heard by script, and remembered."""

import asyncio
import json
from typing import Any

import pytest

from app.audio.decoding import InThisProcess
from app.checkpoints.content_hashes import content_hashes
from app.checkpoints.recipe import Recipe
from app.errors import (
    DiskFull,
    EngineDied,
    EngineFailed,
    NoCalibration,
    QuantizerFailed,
    SourceChanged,
)
from app.jobs import Job, JobReporter
from app.quantization.builder import CheckpointBuilder
from app.quantization.proving import Prover, from_thread, transcribe_set
from app.quantization.quantizer_process import Progress
from app.quantization.request import Thresholds
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.settings import Settings
from app.speech.cutting import Cutting
from tests.quantization.fakes import Decoding, Says, recordings
from tests.serving.fakes import FakeLoader, checkpoint, served

pytestmark = pytest.mark.anyio

FIGURES = {
    "overall": {
        "nll_difference": {"value": 0.0, "low": 0.0, "high": 0.0},
        "token_agreement": {"value": 1.0, "low": 1.0, "high": 1.0},
    },
    "layers": [],
}


class Setting:
    """A prover; `says` by the checkpoint's name, `compared` the pairs that were."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.settings = Settings(cache_dir=folder / "cache", vad=False)  # recordings are tones
        self.loader = FakeLoader(self.settings)
        self.loader.make = lambda one: self.says[one.source.name]
        self.says: dict[str, Any] = {
            "source": Says(en="mayday", zh="求救"),
            "candidate": Says(en="mayday", zh="求救"),
        }
        self.source = checkpoint(folder, "source")
        self.candidate = checkpoint(
            folder, "candidate", fingerprint="f" * 16, recipe=Recipe(method="rtn")
        )
        self.compared, self.fault, self.events = [], None, []
        self.recordings = Recordings(
            sources=recordings(folder / "proof", ("mayday", "en"), ("求救", "zh")), samples=None
        )
        maker = CheckpointBuilder(self.settings)
        monkeypatch.setattr(maker.quantizer, "versions", lambda: {"llmcompressor": "1"})
        monkeypatch.setattr(maker.quantizer, "compare", self._compare)
        self.maker, self.decoders = maker, Decoding()

    def _compare(self, source, candidate, recordings, on_progress):
        self.compared.append((source.name, candidate.name))
        on_progress(Progress(1, 2, 3.0))
        if self.fault:
            raise self.fault
        return FIGURES

    async def prove(self, **thresholds):
        job = Job("x", {}, "k")
        reporter = JobReporter(job, lambda job, event: self.events.append(event))
        prover = Prover(self.loader, self.maker, self.decoders)  # as the next job has it
        found = content_hashes(self.source.source, None, self.recordings)
        limits = Thresholds(**thresholds)
        return await prover.prove(
            self.source, self.candidate, self.recordings, limits, found, reporter
        )

    @property
    def stages(self):
        return [event["stage"] for event in self.events if event["type"] == "stage"]

    @property
    def heard(self):
        return [one.checkpoint.source.name for one in self.loader.loaded]


@pytest.fixture
def setting(tmp_path, monkeypatch):
    return Setting(tmp_path, monkeypatch)


async def test_both_are_compared_heard_and_judged_one_engine_at_a_time(setting):
    proof = await setting.prove()
    assert proof.passed
    assert not proof.emulated
    assert setting.compared == [("source", "candidate")]
    assert setting.stages == ["comparing", "transcribing the source", "transcribing the candidate"]
    assert setting.heard == ["source", "candidate"]
    assert setting.decoders.decoded == 4
    assert setting.loader.running == []
    assert [one.candidate for one in proof.sentences] == ["mayday", "求救"]
    assert set(proof.rtfx) == {"source", "candidate"}
    assert proof.kernels["candidate"] == {"marlin": 4}
    assert proof.comparison == FIGURES
    assert {one.languages for one in setting.says["source"].asked} == {("en",), ("zh",)}


async def test_a_candidate_that_hears_worse_is_rejected_by_language(setting):
    setting.says["candidate"] = Says(en="mayday", zh="再見")
    proof = await setting.prove(min_recovery=0.9)
    assert [reason[:3] for reason in proof.reasons] == ["zh:"]


async def test_what_was_heard_once_is_not_heard_again(setting):
    first = await setting.prove()
    second = await setting.prove(min_recovery=0.99)
    assert setting.heard == ["source", "candidate"]
    assert len(setting.compared) == 1
    assert second.sentences == first.sentences
    assert second.rtfx == {}  # of another hour
    assert second.thresholds.min_recovery == 0.99


async def test_the_source_is_heard_once_for_many_candidates(setting):
    await setting.prove()
    setting.candidate = checkpoint(setting.folder, "candidate", fingerprint="e" * 16)
    await setting.prove()
    assert setting.heard == ["source", "candidate", "candidate"]
    assert len(setting.compared) == 2


async def test_other_recordings_are_heard_anew(setting):
    await setting.prove()
    recordings(setting.folder / "proof", ("mayday", "en"), ("求助", "zh"))
    await setting.prove()
    assert setting.heard == ["source", "candidate"] * 2


async def test_another_source_of_the_same_name_is_heard_anew(setting):
    await setting.prove()
    (setting.source.folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    await setting.prove()
    assert setting.heard == ["source", "candidate", "source"]


@pytest.mark.parametrize(
    "changed", [{"window_seconds": 20}, {"vad": True}, {"linear_backend": "marlin"}]
)
async def test_what_decides_decoding_has_both_heard_anew(setting, changed):
    await setting.prove()
    setting.loader.settings = setting.settings.model_copy(update=changed)
    await setting.prove()
    assert setting.heard == ["source", "candidate"] * 2


@pytest.mark.parametrize("what", ["source", "recordings"])
async def test_what_changes_while_it_is_proven_is_told_and_not_remembered(setting, what):
    def change(checkpoint):
        if what == "source":
            (setting.source.folder / "config.json").write_text('{"other": 1}')
        else:
            recordings(setting.folder / "proof", ("mayday", "en"), ("求助", "zh"))
        return Says(en="mayday", zh="求救")

    setting.loader.make = change
    with pytest.raises(SourceChanged, match="changed while it was proven"):
        await setting.prove()
    assert setting.heard == ["source"]
    assert len(list((setting.settings.cache_dir / "proofs").iterdir())) == 1  # the comparison


@pytest.mark.parametrize("damage", ["", "{", '"'])
async def test_what_is_remembered_and_cannot_be_read_is_heard_anew(setting, damage):
    await setting.prove()
    for path in (setting.settings.cache_dir / "proofs").iterdir():
        path.write_text(damage)
    assert (await setting.prove()).passed
    assert setting.heard == ["source", "candidate"] * 2


async def test_what_is_remembered_in_another_shape_is_heard_anew(setting):
    await setting.prove()
    for path in (setting.settings.cache_dir / "proofs").iterdir():
        if "texts" in json.loads(path.read_text()):
            path.write_text('{"text": "of another version"}')
    assert (await setting.prove()).passed


async def test_what_failed_is_remembered_so_far_as_it_came(setting):
    setting.loader.faults["candidate"] = EngineFailed("no", "way")
    with pytest.raises(EngineFailed):
        await setting.prove()
    del setting.loader.faults["candidate"]
    assert (await setting.prove()).passed
    assert setting.heard == ["source", "candidate"]
    assert len(setting.compared) == 1


async def test_a_comparison_that_fails_is_told_and_nobody_listens(setting):
    setting.fault = QuantizerFailed("no", "way")
    with pytest.raises(QuantizerFailed):
        await setting.prove()
    assert setting.heard == []


async def test_an_engine_that_dies_while_it_hears_is_ended(setting):
    setting.says["candidate"] = Says(en="mayday", zh=EngineDied("gone"))
    with pytest.raises(EngineDied):
        await setting.prove()
    assert setting.loader.running == []


async def test_a_proof_that_is_cancelled_ends_its_engine(setting):
    setting.says["source"].gate = asyncio.Event()
    proving = asyncio.create_task(setting.prove())
    async with asyncio.timeout(60):
        while not setting.says["source"].asked:
            await asyncio.sleep(0.001)
    proving.cancel()
    await asyncio.wait({proving})
    assert proving.cancelled()
    assert setting.loader.running == []


async def test_a_disk_without_room_fails_the_proof_with_advice(setting, monkeypatch):
    def no_space(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.checkpoints.result_cache.write_json", no_space)
    with pytest.raises(DiskFull, match="No space left") as caught:
        await setting.prove()
    assert caught.value.code == "disk_full"
    assert setting.loader.running == []


async def test_the_proving_engine_is_not_observed(setting, monkeypatch):
    """vLLM's metrics are one engine's in a process: the serving one's."""
    given, load = [], setting.loader.load

    def loading(one, metrics, **more):
        given.append((metrics, more.get("windows")))
        return load(one, metrics, **more)

    monkeypatch.setattr(setting.loader, "load", loading)
    await setting.prove()
    assert [metrics for metrics, _ in given] == [None, None]
    assert all(windows for _, windows in given)


async def test_a_layer_is_told_with_its_name_and_loss():
    events = []
    on_progress = from_thread(teller(events))
    on_progress(Progress(1, 2, 3.0, 0.5, "encoder.0"))
    on_progress(Progress(2, 2, 0.0))
    await asyncio.sleep(0)
    assert [(one.get("layer"), one.get("loss")) for one in events] == [
        ("encoder.0", 0.5), (None, None),
    ]  # fmt: skip


# Transcribing


def said_by(decoder, folder):
    return served(decoder, checkpoint(folder, "said"))


def teller(events):
    return JobReporter(Job("x", {}, "k"), lambda job, event: events.append(event))


async def test_recordings_are_heard_a_few_at_a_time_and_told_in_their_order(tmp_path):
    folder = recordings(tmp_path / "many", *((f"{n}", "en") for n in range(20)))
    clips = read(Recordings(sources=folder))
    at_once, most = 0, 0

    class Slow(Says):
        async def decode_window(self, request, on_token=lambda: None):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                await asyncio.sleep(0)
                async for event in super().decode_window(request):
                    yield event
            finally:
                at_once -= 1

    events = []
    hearing = await transcribe_set(
        said_by(Slow(en="x"), tmp_path),
        clips,
        teller(events),
        InThisProcess(),
        cutting=Cutting(),
    )
    assert hearing.texts == ["x"] * 20
    assert hearing.audio_seconds == pytest.approx(20, abs=0.5)
    assert 1 <= most <= 10
    assert at_once == 0
    assert [event["done"] for event in events] == list(range(1, 21))
    assert events[-1]["eta_seconds"] == 0


async def test_a_recording_that_cannot_be_decoded_is_named(tmp_path):
    folder = recordings(tmp_path / "few", ("a", "en"), ("b", "en"))
    (tmp_path / "few" / "1.wav").write_bytes(b"none")
    clips = read(Recordings(sources=folder))
    with pytest.raises(NoCalibration, match=r"1\.wav"):
        await transcribe_set(
            said_by(Says(en="x"), tmp_path), clips, teller([]), InThisProcess(), cutting=Cutting()
        )
