"""What clients are told of a checkpoint: how it was made, and nothing that is not theirs."""

import json
from pathlib import Path

import pytest

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Entry
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint


@pytest.fixture
def entry(tmp_path):
    def entry(*sources, **figures):
        calibration = {"sources": list(sources)} if sources else None
        recipe = Recipe(method="gptq" if sources else "rtn", calibration=calibration)
        manifest = {
            "fingerprint": "f" * 16,
            "source": {"name": "mine", "revision": ""},
            "recipe": recipe.model_dump(mode="json"),
            "figures": figures,
        }
        return Entry(tmp_path, manifest)

    return entry


def test_the_words_it_was_calibrated_on_are_not_told(entry):
    heard = {
        "recordings": 1,
        "languages": {"en": 1},
        "texts": [{"language": "en", "text": "a secret"}],
    }
    provenance = Checkpoint.of(entry("/data/speech", calibration=heard)).provenance
    assert provenance["calibration"] == {"recordings": 1, "languages": {"en": 1}}
    assert "secret" not in json.dumps(provenance)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("/data/clients/harbour", "harbour"),
        ("/data/a:b/harbour/manifest.jsonl", "manifest.jsonl"),
        ("~/harbour", "harbour"),
        ("clients/harbour", "harbour"),
        ("MLCommons/peoples_speech:clean:train", "MLCommons/peoples_speech:clean:train"),
    ],
)
def test_where_recordings_lie_is_not_told(entry, source, told):
    checkpoint = Checkpoint.of(entry(source))
    assert checkpoint.provenance["recipe"]["calibration"]["sources"][0]["source"] == told
    assert checkpoint.recipe.calibration.sources[0].source == source


def test_it_is_called_as_it_is_asked_for(entry):
    asked = Source("openai/whisper-tiny", Path("source"), "abc")
    source = Checkpoint.of(entry()).called(asked).source
    assert (source.name, source.revision) == ("openai/whisper-tiny", "abc")
    assert source.folder == entry().folder


def test_what_listens_to_nothing_has_no_calibration(entry):
    provenance = Checkpoint.of(entry(), job="qjob_1").provenance
    assert provenance["recipe"]["method"] == "rtn"
    assert (provenance["calibration"], provenance["job"]) == (None, "qjob_1")


def test_it_is_known_by_its_sources_weights_and_its_recipe(entry, tmp_path):
    made = entry()
    hashes = {"content_hashes": {"source": {"weights": "abc"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(made.manifest | hashes), "utf-8")
    checkpoint = Checkpoint.of(made)
    assert checkpoint.known_as() == f"abc {checkpoint.scheme}"


def test_layers_are_part_of_what_it_is_known_by(entry, tmp_path):
    made = entry()
    recipe = made.manifest["recipe"] | {"layers": {"*.fc1": "W8A8", "*.fc2": "none"}}
    facts = {"recipe": recipe, "content_hashes": {"source": {"weights": "abc"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(made.manifest | facts), "utf-8")
    checkpoint = Checkpoint.of(Entry(made.folder, made.manifest | facts))
    assert checkpoint.scheme.endswith("layers=2")
    assert checkpoint.known_as() == f"abc {checkpoint.scheme} *.fc1=W8A8 *.fc2=none"


def test_one_that_a_former_version_made_is_not_known(entry, tmp_path):
    made = entry()
    (tmp_path / "manifest.json").write_text(json.dumps(made.manifest), "utf-8")
    assert Checkpoint.of(made).known_as().startswith("unknown ")


def test_a_source_is_known_by_its_own_weights(tmp_path):
    source = Source("mine", write_checkpoint(tmp_path), "")
    known = Checkpoint(source, tmp_path).known_as()
    assert known == f"{source.identity()['weights']} unquantized"
