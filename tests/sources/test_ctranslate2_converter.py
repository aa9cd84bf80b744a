"""What CTranslate2's own converter writes is the model that it was given."""

import numpy as np
import pytest
from ctranslate2.converters import TransformersConverter

from app.checkpoints.content_hashes import content_hashes
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import fingerprint
from app.sources import layout
from app.sources.resolve import resolve
from app.sources.vocabulary import make_tokenizer
from app.sources.weights import Weights
from tests.sources.small_whisper import HEADS, TOKENS, save_openai, tensors


@pytest.fixture(scope="module")
def whole():
    return tensors()


@pytest.fixture(scope="module")
def published(tmp_path_factory, whole):
    """A folder in Hugging Face's layout and in 32 bits, as the hub has OpenAI's smaller ones."""
    folder = tmp_path_factory.mktemp("published")
    wide = {name: array.astype(np.float32) for name, array in whole.items()}
    layout.write(folder, Weights(wide, HEADS, HEADS), make_tokenizer(TOKENS), {})
    return folder


def known_as(path, cache):
    source = resolve(str(path), cache)
    return fingerprint(content_hashes(source, None), Recipe(method="rtn"), {})


@pytest.mark.parametrize(
    ("numbers", "beside"), [("float16", None), ("float32", ["tokenizer.json"])]
)
def test_a_model_has_one_fingerprint_in_three_forms(tmp_path, whole, published, numbers, beside):
    converter = TransformersConverter(str(published), copy_files=beside)
    converter.convert(str(tmp_path / "faster-whisper-mine"), quantization=numbers)
    forms = (published, tmp_path / "faster-whisper-mine", save_openai(tmp_path / "mine.pt", whole))
    assert len({known_as(one, tmp_path / "cache") for one in forms}) == 1
