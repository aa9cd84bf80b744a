"""What is made is of one source, or is not kept."""

import errno
import shutil

import pytest

from app.checkpoints.content_hashes import content_hashes
from app.checkpoints.recipe import Recipe
from app.environment import DEMO
from app.errors import BadRecipe, BadSource, CacheUnusable, DiskFull, SourceChanged
from app.jobs import Job, JobReporter
from app.quantization import builder
from app.quantization.builder import CheckpointBuilder, checkpoint_of
from app.quantization.quantizer_process import Quantizer
from app.quantization.request import QuantizationRequest
from app.quantization.run import run_job
from app.quantization.settings_recipe import check_recipe
from app.settings import Settings
from app.sources.resolve import resolve
from tests.quantization.fakes import recordings
from tests.serving.fakes import FakeLoader

RTN = Recipe(method="rtn")
FIGURES = {"seconds": 0.1}


@pytest.fixture
def source(tmp_path):
    shutil.copytree(DEMO / "marine-radio", tmp_path / "mine")
    return resolve(str(tmp_path / "mine"), tmp_path)


@pytest.fixture
def maker(tmp_path, monkeypatch):
    monkeypatch.setattr(Quantizer, "versions", lambda _: {"quantizer": "1"})
    return CheckpointBuilder(Settings(cache_dir=tmp_path / "cache"))


def making(monkeypatch, work):
    def make(self, folder, out, recipe, on_progress):
        (out / "config.json").write_text("{}")
        work(folder)
        return FIGURES

    monkeypatch.setattr(Quantizer, "make", make)


def make(maker, source):
    return maker.make(source, RTN, lambda _: None)


def kept(tmp_path):
    return [p for p in (tmp_path / "cache" / "checkpoints").iterdir() if p.suffix != ".lock"]


def test_a_source_that_changes_while_it_is_read_leaves_nothing(
    maker, source, monkeypatch, tmp_path
):
    making(monkeypatch, lambda folder: (folder / "generation_config.json").write_text("{}"))
    with pytest.raises(SourceChanged, match="changed while it was read"):
        make(maker, source)
    assert kept(tmp_path) == []


def test_recordings_that_change_while_they_are_heard_leave_nothing(
    maker, source, monkeypatch, tmp_path
):
    learned = recordings(tmp_path / "learned", ("hello", "en"))
    recipe = Recipe(calibration={"sources": learned})
    making(monkeypatch, lambda _: recordings(tmp_path / "learned", ("hello", "en"), ("ho", "en")))
    with pytest.raises(SourceChanged, match="What it is calibrated on changed while it was read"):
        maker.make(source, recipe, lambda _: None)
    assert kept(tmp_path) == []


def test_what_is_made_is_of_the_source_that_it_is_named_after(maker, source, monkeypatch, tmp_path):
    """Between the look that names it and the quantizer's own, too."""
    making(monkeypatch, lambda _: None)
    found = content_hashes(source, None)
    (source.folder / "generation_config.json").write_text("{}")
    with pytest.raises(SourceChanged):
        maker.make(source, RTN, lambda _: None, found=found)
    assert kept(tmp_path) == []


@pytest.mark.anyio
@pytest.mark.parametrize("changed", ["source", "proof"])
async def test_what_changed_since_it_was_asked_for_is_not_begun(
    maker, source, monkeypatch, tmp_path, changed
):
    times = []
    making(monkeypatch, times.append)
    judged = recordings(tmp_path / "judged", ("mayday", "en"))
    request = QuantizationRequest(model=str(source.folder), recipe=RTN, proof={"sources": judged})
    asked = content_hashes(source, None, request.proof)
    if changed == "source":
        (source.folder / "generation_config.json").write_text("{}")
    else:
        recordings(tmp_path / "judged", ("mayday mayday", "en"))
    loader = FakeLoader(Settings(cache_dir=tmp_path / "cache"))
    reporter = JobReporter(Job("x", {}, "k"), lambda *_: None)
    with pytest.raises(SourceChanged, match="changed since it was asked for"):
        await run_job(request, loader, reporter, known={"asked": asked})
    assert times == []


@pytest.fixture
def unplugged(monkeypatch):
    """Neither the hub nor the Python package index answers."""

    def resolve_here(model, cache, on_progress=print):
        if model.startswith("openai/"):
            raise BadSource(f"{model} cannot be had.", "Check the network.")
        return resolve(model, cache)

    monkeypatch.setattr(builder, "resolve", resolve_here)


@pytest.mark.usefixtures("unplugged")
def test_the_demo_serves_where_nobody_chose_a_model_and_the_default_cannot_be_had(
    maker, tmp_path, caplog
):
    settings = Settings(cache_dir=tmp_path, quantization="none")
    stages = []
    made = checkpoint_of(settings, "cpu", maker, lambda stage, *what: stages.append(what))
    assert made.source.folder == DEMO / "marine-radio"
    assert [what for (what,) in stages] == ["openai/whisper-base", str(DEMO / "marine-radio")]
    assert "openai/whisper-base cannot be had. The bundled demo serves instead" in caplog.text


@pytest.mark.usefixtures("unplugged")
def test_a_model_that_was_chosen_is_never_replaced(maker, tmp_path):
    chosen = Settings(model="openai/whisper-base", cache_dir=tmp_path, quantization="none")
    several = Settings(models="a=openai/whisper-base", cache_dir=tmp_path, quantization="none")
    for settings in (chosen, several.of_model("a")):
        with pytest.raises(BadSource, match=r"cannot be had\. Check the network"):
            checkpoint_of(settings, "cpu", maker, lambda *_: None)


def test_a_source_that_stays_is_made_once(maker, source, monkeypatch):
    times = []
    making(monkeypatch, times.append)
    first = make(maker, source)
    assert make(maker, source).folder == first.folder
    assert len(times) == 1


def test_what_was_made_under_another_name_serves_under_the_one_that_is_asked_for(
    maker, source, monkeypatch, tmp_path
):
    times = []
    making(monkeypatch, times.append)
    first = make(maker, source)
    copied = shutil.copytree(source.folder, tmp_path / "renamed")
    settings = Settings(cache_dir=tmp_path / "cache", model=str(copied), quantization="rtn")
    checkpoint = checkpoint_of(settings, "cpu", maker, lambda *_, **__: None)
    assert (checkpoint.folder, len(times)) == (first.folder, 1)
    assert checkpoint.source.name == "renamed"


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFull), (errno.EACCES, CacheUnusable)]
)
def test_a_disk_that_refuses_is_told_and_leaves_nothing(
    maker, source, monkeypatch, tmp_path, number, error
):
    def refuse(_):
        raise OSError(number, "the disk says no")

    making(monkeypatch, refuse)
    with pytest.raises(error, match="the disk says no"):
        make(maker, source)
    assert kept(tmp_path) == []


def test_a_recipe_that_does_not_fit_is_refused_with_the_reason(source):
    with pytest.raises(BadRecipe, match="no kernel for W8A16"):
        check_recipe(Recipe(method="rtn", scheme="W8A16"), source, "cpu")
    check_recipe(Recipe(method="rtn", scheme="W8A16", emulate=True), source, "cpu")
