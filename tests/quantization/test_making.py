"""What is made is of one source, or is not kept."""

import errno
import shutil

import pytest

from app.checkpoints.quantizing import Quantizer
from app.checkpoints.recipe import Recipe
from app.checkpoints.source import resolve
from app.errors import BadRecipe, CacheUnusable, DiskFull, SourceChanged
from app.quantization.making import Maker, check_recipe
from app.settings import DEMO, Settings

RTN = Recipe(method="rtn")
FIGURES = {"seconds": 0.1}


@pytest.fixture
def source(tmp_path):
    shutil.copytree(DEMO / "marine-radio", tmp_path / "mine")
    return resolve(str(tmp_path / "mine"))


@pytest.fixture
def maker(tmp_path, monkeypatch):
    monkeypatch.setattr(Quantizer, "versions", lambda _: {"quantizer": "1"})
    return Maker(Settings(cache_dir=tmp_path / "cache"))


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
    making(monkeypatch, lambda folder: (folder / "vocab.json").write_text("{}"))
    with pytest.raises(SourceChanged, match="changed while it was read"):
        make(maker, source)
    assert kept(tmp_path) == []


def test_a_source_that_stays_is_made_once(maker, source, monkeypatch):
    times = []
    making(monkeypatch, times.append)
    first = make(maker, source)
    assert make(maker, source).folder == first.folder
    assert len(times) == 1


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
