"""The heads that words are aligned by are those chosen, measured, named, or a default."""

import json

import pytest

from app.errors import BadSource
from app.models.whisper_vllm.alignment_heads import AlignmentHeads, all_heads, keep

BASE = [[3, 1], [4, 2], [4, 3], [4, 7], [5, 1], [5, 2], [5, 4], [5, 6]]


@pytest.fixture
def checkpoint(tmp_path):
    """A folder of a decoder with 6 layers of 8 heads."""

    def written(named=None):
        shape = {"decoder_layers": 6, "decoder_attention_heads": 8}
        (tmp_path / "config.json").write_text(json.dumps(shape), "utf-8")
        if named is not None:
            generation = json.dumps({"alignment_heads": named})
            (tmp_path / "generation_config.json").write_text(generation, "utf-8")
        return tmp_path

    return written


def test_a_checkpoint_names_its_own(checkpoint):
    found = AlignmentHeads.of(checkpoint([[5, 3], [4, 2]]))
    assert (found.heads, found.lags, found.source) == (((4, 2), (5, 3)), (0, 0), "checkpoint")


def test_what_was_measured_for_its_kind_goes_before_what_it_names(checkpoint):
    found = AlignmentHeads.of(checkpoint(BASE))
    assert found.source == "measured"
    assert len(found.heads) == len(found.lags)
    assert any(found.lags)


def test_what_was_chosen_for_it_goes_before_all(checkpoint):
    folder = checkpoint(BASE)
    keep(folder, {(5, 7): -3, (2, 1): 4}, {"en": {"median_ms": 30.0}})
    found = AlignmentHeads.of(folder)
    assert (found.heads, found.lags, found.source) == (((2, 1), (5, 7)), (4, -3), "chosen")
    assert found.facts == {
        "heads": 2, "source": "chosen", "word_times": {"en": {"median_ms": 30.0}},
    }  # fmt: skip


@pytest.mark.parametrize("named", [None, []])
def test_without_any_they_are_all_of_the_upper_half(checkpoint, named):
    found = AlignmentHeads.of(checkpoint(named))
    assert found.source == "default"
    assert found.heads == tuple((layer, head) for layer in (3, 4, 5) for head in range(8))


@pytest.mark.parametrize("named", [[[6, 0]], [[0, 8]], [[-1, 0]]])
def test_heads_that_it_does_not_have_are_an_error_that_says_which(checkpoint, named):
    ((layer, head),) = named
    with pytest.raises(BadSource, match=f"head {head} of decoder layer {layer}"):
        AlignmentHeads.of(checkpoint(named))


@pytest.mark.parametrize("named", [[[1, 2, 3]], [1], "all", [["a", "b"]]])
def test_what_are_no_pairs_is_an_error(checkpoint, named):
    with pytest.raises(BadSource, match="a form that is not known"):
        AlignmentHeads.of(checkpoint(named))


def test_a_file_that_is_no_json_is_an_error(checkpoint):
    folder = checkpoint()
    (folder / "alignment.json").write_text("{", "utf-8")
    with pytest.raises(BadSource, match=r"alignment\.json cannot be read"):
        AlignmentHeads.of(folder)


def test_a_folder_of_no_whisper_is_an_error(tmp_path):
    with pytest.raises(BadSource, match=r"no config\.json with 'decoder_layers'"):
        AlignmentHeads.of(tmp_path)


def test_all_heads_are_layer_by_layer(checkpoint):
    assert all_heads(checkpoint())[7:9] == ((0, 7), (1, 0))
