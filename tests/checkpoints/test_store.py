"""A checkpoint in the cache is whole, or it is not there."""

import errno
import json
import multiprocessing

import pytest

from app.checkpoints.content_hashes import content_hashes
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store, fingerprint
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint, write_weights

RECIPE = Recipe(method="rtn")
VERSIONS = {"llmcompressor": "1"}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return Source("tiny", write_checkpoint(folder), "")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def known_as(source, recipe=RECIPE, versions=VERSIONS):
    return fingerprint(content_hashes(source, recipe.calibration), recipe, versions)


class CheckpointBuilder:
    """Writes a file; counts how often it was asked."""

    def __init__(self, content=b"made"):
        self.content, self.calls = content, 0

    def __call__(self, out):
        self.calls += 1
        (out / "model.safetensors").write_bytes(self.content)
        return {"seconds": 1}


def test_what_was_made_is_not_made_again(store, source):
    make = CheckpointBuilder()
    first = store.get_or_make(source, RECIPE, VERSIONS, make)
    second = store.get_or_make(source, RECIPE, VERSIONS, make)
    assert (first, make.calls) == (second, 1)


def test_the_manifest_says_what_it_is_made_of(store, source):
    entry = store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder())
    manifest = json.loads((entry.folder / "manifest.json").read_text())
    assert manifest["recipe"]["method"] == "rtn"
    assert manifest["versions"] == VERSIONS
    assert manifest["figures"] == {"seconds": 1}
    assert manifest["files"]["model.safetensors"]["bytes"] == 4


@pytest.mark.parametrize("what", ["recipe", "source file", "quantizer"])
def test_anything_that_decides_the_result_changes_the_fingerprint(source, what):
    before = known_as(source)
    recipe, versions = RECIPE, VERSIONS
    if what == "recipe":
        recipe = Recipe(method="rtn", group_size=64)
    elif what == "quantizer":
        versions = {"llmcompressor": "2"}
    else:
        write_weights(source.folder, 1.0)
    assert known_as(source, recipe, versions) != before


@pytest.mark.parametrize(
    ("recipe", "known"),
    [
        (Recipe(method="rtn"), "f1c1d6d017a22ff3"),
        (Recipe(group_size=32, components={"encoder.attention": "W8A8", "encoder.mlp": "W8A8"}),
         "c073e58c327b114f"),
    ],
)  # fmt: skip
def test_what_versions_before_recipes_by_layer_have_made_is_found(recipe, known):
    assert fingerprint({"source": {"weights": "abc"}}, recipe, {"llmcompressor": "1"}) == known


def test_the_order_of_layers_is_of_the_fingerprint(source):
    layers = {"decoder.*": "W8A8", "*.fc1": "none"}
    other = dict(reversed(layers.items()))
    assert known_as(source, Recipe(method="rtn", layers=layers)) != known_as(
        source, Recipe(method="rtn", layers=other)
    )


def test_a_source_is_known_by_its_content_and_not_by_its_name_or_commit(source):
    hub = Source("openai/whisper-tiny", source.folder, "abc")
    assert known_as(hub) == known_as(source)


DAMAGES = {
    "a changed byte": lambda folder: (folder / "model.safetensors").write_bytes(b"mabe"),
    "a missing file": lambda folder: (folder / "model.safetensors").unlink(),
    "a cut manifest": lambda folder: (folder / "manifest.json").write_text('{"files": {'),
    "a manifest of another kind": lambda folder: (folder / "manifest.json").write_text("[]"),
    "a manifest of nothing": lambda folder: (folder / "manifest.json").write_text('{"files": {}}'),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_set_aside_and_made_again(store, source, damage, caplog):
    make = CheckpointBuilder()
    entry = store.get_or_make(source, RECIPE, VERSIONS, make)
    DAMAGES[damage](entry.folder)
    again = store.get_or_make(source, RECIPE, VERSIONS, make)
    assert make.calls == 2
    assert (again.folder / "model.safetensors").read_bytes() == b"made"
    assert entry.folder.with_name(f".{entry.folder.name}.damaged").exists()
    assert "is damaged" in caplog.text


def test_a_manifest_of_the_sources_own_does_no_harm(store, source):
    """It is copied with the source's other files."""
    make = CheckpointBuilder()

    def copying(out):
        (out / "manifest.json").write_text("{}")
        return make(out)

    first = store.get_or_make(source, RECIPE, VERSIONS, copying)
    assert store.get_or_make(source, RECIPE, VERSIONS, copying) == first
    assert make.calls == 1


def named(source, name):
    return Source(name, source.folder, "")


def test_the_same_source_under_another_name_has_the_same_entry(store, source):
    make = CheckpointBuilder()
    first = store.get_or_make(source, RECIPE, VERSIONS, make)
    other = store.get_or_make(named(source, "openai/whisper-tiny"), RECIPE, VERSIONS, make)
    assert (other.folder, make.calls) == (first.folder, 1)


def told(store, source, caplog, recipe=RECIPE, versions=VERSIONS):
    """What the log says of making one more."""
    caplog.set_level("INFO")
    caplog.clear()
    store.get_or_make(source, recipe, versions, CheckpointBuilder())
    return caplog.text


def test_of_the_first_checkpoint_of_a_source_nothing_is_told(store, source, caplog):
    store.get_or_make(named(source, "other"), Recipe(), VERSIONS, CheckpointBuilder())
    assert told(store, source, caplog) == ""
    assert told(store, source, caplog) == ""  # found


def test_other_versions_are_named(store, source, caplog):
    told(store, source, caplog)
    text = told(store, source, caplog, versions={"llmcompressor": "2"})
    assert text.count("WARNING") == 1
    assert "another llmcompressor (1, now 2): it is made again. `marlinscribe cache prune`" in text


def test_another_content_is_named(store, source, caplog):
    told(store, source, caplog)
    write_weights(source.folder, 1.0)
    assert "but its source had other weights: it is made again" in told(store, source, caplog)


def test_another_recipe_is_named_and_is_no_reason_to_warn(store, source, caplog):
    told(store, source, caplog)
    text = told(store, source, caplog, Recipe(method="rtn", group_size=64))
    assert "its recipe has another group_size (128, now 64): another one is made" in text
    assert "WARNING" not in text


def test_what_an_earlier_version_made_is_told_so(store, source, caplog):
    entry = store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder())
    manifest = entry.folder / "manifest.json"
    old = {name: part for name, part in json.loads(manifest.read_text()).items()
           if name != "content_hashes"}  # fmt: skip
    manifest.write_text(json.dumps(old))
    entry.folder.rename(entry.folder.with_name("tiny-0123456789abcdef"))
    text = told(store, source, caplog)
    assert "an earlier version made it, which knew its source by other marks" in text


def test_of_several_the_nearest_is_told(store, source, caplog):
    told(store, source, caplog, Recipe(method="rtn", group_size=64), {"llmcompressor": "0"})
    told(store, source, caplog, versions={"llmcompressor": "1"})
    text = told(store, source, caplog, versions={"llmcompressor": "2"})
    assert "(1, now 2)" in text


def test_a_manifest_that_says_nothing_is_no_reason_to_fail(store, source, caplog):
    entry = store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder())
    (entry.folder / "manifest.json").write_text('{"content_hashes": 3}')
    entry.folder.rename(entry.folder.with_name("tiny-0123456789abcdef"))
    assert "the cache holds tiny as unknown" in told(store, source, caplog)


def test_a_failure_leaves_no_entry_and_the_next_start_works(store, source, tmp_path):
    def disk_full(out):
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.get_or_make(source, RECIPE, VERSIONS, disk_full)
    assert [p.name for p in (tmp_path / "cache/checkpoints").iterdir() if p.is_dir()] == []
    assert store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder()).folder.exists()


def test_what_a_crash_left_behind_is_dropped(store, source):
    entry = store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder())
    left = entry.folder.with_name(f".{entry.folder.name}.partial")
    entry.folder.rename(left)
    (left / "old").touch()
    again = store.get_or_make(source, RECIPE, VERSIONS, CheckpointBuilder())
    assert not left.exists()
    assert not (again.folder / "old").exists()


def _make_slowly(root, source, started, calls):
    def make(out):
        calls.put(1)
        started.set()
        (out / "model.safetensors").write_bytes(b"made")
        return {}

    Store(root).get_or_make(source, RECIPE, VERSIONS, make)


def test_two_starts_make_one_checkpoint(source, tmp_path):
    context = multiprocessing.get_context("spawn")
    calls, started = context.Queue(), context.Event()
    arguments = (tmp_path / "cache", source, started, calls)
    makers = [context.Process(target=_make_slowly, args=arguments) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
        assert maker.exitcode == 0
    assert calls.get(timeout=5) == 1
    assert calls.empty()
