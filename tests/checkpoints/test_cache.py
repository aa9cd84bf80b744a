"""What lies in the cache is told without hashing it, and deleted only where nobody uses it."""

import json
import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from app.checkpoints.cache import (
    checkpoints,
    drop_entry,
    drop_half_made,
    leftovers,
)
from app.checkpoints.in_use import CheckpointInUse, in_use, unused
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store
from app.folders import mark_used
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint

RECIPE = Recipe(method="rtn")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def make(cache, tmp_path):
    """Puts an entry of a name into the cache; its folder."""
    source = tmp_path / "source"
    source.mkdir()
    write_checkpoint(source)

    def fill(out):
        (out / "model.safetensors").write_bytes(b"made")
        return {}

    def make(name, recipe=RECIPE):
        return Store(cache).get_or_make(Source(name, source, ""), recipe, {"of": name}, fill).folder

    return make


def hold_elsewhere(folder):
    """Another process that uses an entry until its input ends."""
    code = (
        "import sys; from pathlib import Path; from app.checkpoints.in_use import in_use\n"
        "with in_use(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_an_empty_cache_holds_nothing_and_is_not_made(cache):
    assert not checkpoints(cache)
    assert not leftovers(cache)
    assert not drop_half_made(cache)
    assert not cache.exists()


def test_an_entry_is_told_as_its_manifest_has_it(cache, make):
    folder = make("some/model")
    (one,) = checkpoints(cache)
    assert (one.folder, one.name, one.scheme, one.recipe) == (
        folder, "some/model", RECIPE.label, RECIPE,
    )  # fmt: skip
    assert folder.name.endswith(one.fingerprint)
    assert one.size == sum(path.stat().st_size for path in folder.iterdir())
    assert one.made_at == pytest.approx(time.time(), abs=60)
    assert not one.in_use


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"recipe": {"sauce": 1}, "source": 3}'])
def test_an_entry_with_a_damaged_manifest_is_told_too(cache, make, content):
    (make("a") / "manifest.json").write_text(content)
    (one,) = checkpoints(cache)
    assert (one.name, one.scheme, one.recipe) == ("a", "unknown", None)


def test_what_was_found_last_was_used_last(cache, make):
    first, second = make("a"), make("b")
    for folder in (first, second):
        os.utime(folder, (1, 1))
    Store(cache).find(second.name.rpartition("-")[2])
    assert [one.name for one in checkpoints(cache)] == ["b", "a"]
    mark_used(first.with_name("gone"))  # no error


def test_what_another_process_uses_is_not_deleted_and_is_free_when_that_dies(cache, make):
    folder = make("a")
    other = hold_elsewhere(folder)
    try:
        assert checkpoints(cache)[0].in_use
        assert not drop_entry(folder)
        assert folder.exists()
    finally:
        other.kill()
        other.communicate()
    assert not checkpoints(cache)[0].in_use
    assert drop_entry(folder)
    assert checkpoints(cache) == []
    assert leftovers(cache) == []


def test_what_is_being_made_is_not_deleted(cache, make):
    folder = make("a")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        assert not drop_entry(folder)
    assert drop_entry(folder)


def test_a_process_holds_the_one_that_it_serves_and_no_other(make):
    first, second, served = make("a"), make("b"), CheckpointInUse()

    def held():
        found = []
        for folder in (first, second):
            with unused(folder) as free:
                found.append(not free)
        return found

    served.take(first)
    assert held() == [True, False]
    served.take(first)
    assert held() == [True, False]
    served.take(second)
    assert held() == [False, True]


def test_beside_a_model_of_somebodys_own_nothing_is_written(tmp_path):
    (tmp_path / "mine").mkdir()
    with in_use(tmp_path / "mine"):
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_left_half_made_is_dropped_where_nobody_makes_it(cache, make):
    root = make("a").parent
    for name in ("b-1", "c-2"):
        (root / f".{name}.partial").mkdir()
        (root / f".{name}.partial" / "model.safetensors").write_bytes(b"half")
    (root / ".d-3.damaged").mkdir()
    with FileLock(root / ".b-1.lock"):
        assert drop_half_made(cache) == [root / ".c-2.partial"]
    assert (root / ".b-1.partial").exists()
    assert drop_half_made(cache) == [root / ".b-1.partial"]
    assert leftovers(cache) == [root / ".d-3.damaged"]  # kept for a look
    assert [one.name for one in checkpoints(cache)] == ["a"]


def test_half_a_record_is_dropped_and_one_that_is_being_written_is_not(cache):
    (cache / "jobs").mkdir(parents=True)
    old, new = cache / "jobs" / ".a.json.1.partial", cache / ".serving.json.2.partial"
    for path in (old, new):
        path.write_text("{")
    os.utime(old, (1, 1))
    (cache / "jobs" / "a.json").write_text(json.dumps({}))
    assert drop_half_made(cache) == [old]
    assert new.exists()
