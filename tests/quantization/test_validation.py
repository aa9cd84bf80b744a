"""An order is looked at before it is taken: what cannot be done is refused, with the field."""

import json
import os
import shutil

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE
from app.environment import DEMO
from app.errors import BadField
from app.quantization.request import QuantizationRequest
from app.quantization.validation import RequestValidator
from app.recordings.clip import Clip
from app.recordings.spec import Recordings
from app.settings import Settings
from app.sources.resolve import resolve
from tests.checkpoint_files import write_checkpoint, write_weights
from tests.sound import encode, silence

VERSIONS = {"llmcompressor": "1"}
RTN = {"recipe": {"method": "rtn"}}
TEST_SET = str(DEMO / "recordings" / "test")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "secret"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(root, tmp_path):
    return {"model": "demo", "data_roots": str(root), "cache_dir": tmp_path / "cache"}


@pytest.fixture
def ask(settings):
    """The completed order and its key, for an order as it comes over the wire."""

    def ask(request, device="cpu", versions=VERSIONS, **more):
        intake = RequestValidator(Settings(**settings | more), device)
        taken = intake.completed(QuantizationRequest.model_validate(request), versions)
        return taken.request, taken.key

    return ask


@pytest.fixture
def refused(ask):
    """Asserts that an order is refused for a field; the error."""

    def refused(param, request, match=None, **more):
        with pytest.raises(BadField, match=match) as caught:
            ask(request, **more)
        assert caught.value.param == param
        assert caught.value.status == 400
        return caught.value

    return refused


def sound(name):
    """A recording that is another for another name: noise, for pitches are too few to differ."""
    noise = np.random.default_rng(list(name.encode())).normal(0, 0.1, SAMPLE_RATE)
    return encode(noise.astype(np.float32))


def recordings(folder, *rows, name="manifest.jsonl"):
    """A manifest with (text, language) as its rows, and a recording for each."""
    folder.mkdir(exist_ok=True)
    full = []
    for number, (text, language) in enumerate(rows):
        (folder / f"{number}.wav").write_bytes(sound(f"{folder} {number}"))
        full.append({"audio": f"{number}.wav", "text": text, "language": language})
    return manifest(folder, *full, name=name)


def manifest(folder, *rows, name="manifest.jsonl"):
    (folder / name).write_text("\n".join(json.dumps(row) for row in rows))
    return str(folder)


@pytest.fixture
def proof(root):
    return recordings(root / "proof", ("mayday", "en"), ("求救", "zh"))


@pytest.fixture
def model(root):
    """A Whisper in a folder, whose weights are next to none."""
    folder = root / "mine"
    folder.mkdir()
    return write_checkpoint(folder)


def configure(model, drop=(), **changes):
    path = model / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in drop}))


@pytest.fixture
def deaf(monkeypatch):
    """Recordings count as sound unheard: the demo's proof set is large."""
    monkeypatch.setattr(Clip, "waveform", lambda self: None)


# What is left out


@pytest.mark.usefixtures("deaf")
def test_an_order_that_says_nothing_is_one_for_the_demo(ask):
    whole, _ = ask({})
    assert whole.model == str(DEMO / "marine-radio")
    assert whole.recipe.calibration.sources[0].source == str(DEMO / "recordings" / "calibration")
    assert whole.proof == Recordings(sources=[TEST_SET], samples=None)


@pytest.mark.usefixtures("deaf")
def test_what_is_left_out_is_completed_from_the_settings(ask):
    whole, _ = ask({}, calibration_samples=8)
    assert whole.model == str(DEMO / "marine-radio")
    assert whole.calibration is None
    assert whole.recipe.calibration.samples == 8
    assert whole.recipe.calibration.sources[0].source == str(DEMO / "recordings" / "calibration")
    assert whole.proof == Recordings(sources=[TEST_SET], samples=None)


@pytest.mark.usefixtures("deaf")
def test_a_completed_order_can_be_read_again(ask):
    whole, _ = ask({"calibration": {"sources": str(DEMO / "recordings" / "calibration"),
                                    "samples": 4}})  # fmt: skip
    assert QuantizationRequest.model_validate(whole.as_json()) == whole


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize(("device", "dtype"), [("cpu", "bfloat16"), ("cuda", "float16")])
def test_a_recipe_without_dtype_takes_the_devices_own(ask, device, dtype):
    assert ask(RTN, device)[0].recipe.dtype == dtype
    given = {"recipe": {"method": "rtn", "dtype": "float16"}}
    assert ask(given, device)[0].recipe.dtype == "float16"


def test_calibration_beside_the_recipe_is_the_recipes(ask, proof):
    calibration = {"sources": str(DEMO / "recordings" / "calibration"), "samples": 3}
    beside, key = ask({"calibration": calibration, "proof": {"sources": proof}})
    inside, same = ask({"recipe": {"calibration": calibration}, "proof": {"sources": proof}})
    assert (beside, key) == (inside, same)


@pytest.mark.usefixtures("deaf")
def test_rtn_takes_no_calibration(ask, refused, proof):
    assert ask(RTN)[0].recipe.calibration is None
    refused("calibration", RTN | {"calibration": {"sources": proof}}, "rtn takes no calibration")


def test_a_model_of_your_own_needs_a_proof_of_your_own(refused, model):
    refused("proof", RTN | {"model": str(model)}, "A proof needs recordings")
    refused("proof", RTN | {"model": "openai/whisper-tiny"}, "A proof needs recordings")


# The key


@pytest.mark.usefixtures("deaf")
@pytest.mark.usefixtures("deaf")
def test_the_same_order_has_the_same_key_and_another_has_another(ask, proof, model):
    orders = [
        RTN,
        RTN | {"promote": "auto"},
        RTN | {"thresholds": {"min_recovery": 0.95}},
        RTN | {"proof": {"sources": proof}},
        RTN | {"proof": {"sources": proof, "samples": 1}},
        RTN | {"model": str(model), "proof": {"sources": proof}},
        {"recipe": {"method": "rtn", "scheme": "W8A8"}},
    ]
    keys = [ask(request)[1] for request in orders]
    assert keys == [ask(request)[1] for request in orders]
    assert len(set(keys)) == len(orders)
    assert ask(RTN, versions={"llmcompressor": "2"})[1] not in keys


@pytest.mark.usefixtures("deaf")
def test_what_is_said_and_what_is_left_out_to_the_same_effect_have_the_same_key(ask):
    said = RTN | {
        "model": str(DEMO / "marine-radio"),
        "proof": {"sources": TEST_SET, "samples": None},
        "promote": "manual",
        "thresholds": {"min_recovery": 0.9},
    }
    assert ask(said)[1] == ask(RTN)[1]


def test_the_key_changes_with_a_recordings_bytes_and_with_its_words(ask, proof, root):
    request = RTN | {"proof": {"sources": proof}}
    keys = [ask(request)[1]]
    (root / "proof" / "0.wav").write_bytes(sound("other"))
    keys.append(ask(request)[1])
    recordings(root / "proof", ("mayday mayday", "en"), ("求救", "zh"))
    keys.append(ask(request)[1])
    assert len(set(keys)) == 3


def test_the_key_changes_with_the_sources_bytes_and_the_calibrations(ask, proof, model, root):
    learned = recordings(root / "learned", ("hello", "en"))
    request = {
        "model": str(model),
        "calibration": {"sources": learned},
        "proof": {"sources": proof},
    }
    keys = [ask(request)[1]]
    write_weights(model, 1.0)
    keys.append(ask(request)[1])
    (root / "learned" / "0.wav").write_bytes(sound("other"))
    keys.append(ask(request)[1])
    assert len(set(keys)) == 3


# Paths


@pytest.mark.parametrize("field", ["model", "proof", "calibration"])
def test_paths_lie_within_the_roots(refused, root, outside, field):
    recordings(outside, ("x", "en"))
    link = root / "link"
    link.symlink_to(outside)
    for path in ("/etc", "/", "..", "~", outside, link, root / ".." / "secret", f"{root}-other",
                 root / "link" / "manifest.jsonl"):  # fmt: skip
        value = str(path) if field == "model" else {"sources": str(path)}
        request = ({} if field == "calibration" else RTN) | {field: value}
        assert refused(field, request, "lies outside").code == "path_not_allowed"


def test_a_path_that_is_not_there_is_named(refused, root):
    gone = str(root / "gone")
    refused("proof", RTN | {"proof": {"sources": gone}}, "There is no")
    refused("model", RTN | {"model": gone}, "neither a folder")


@pytest.mark.usefixtures("deaf")
def test_the_demo_and_what_the_settings_name_are_allowed(ask, outside, model, proof):
    own = outside / "model"
    shutil.copytree(model, own)
    learned = recordings(outside / "learned", ("hello", "en"))
    request = {
        "model": str(own),
        "calibration": {"sources": learned},
        "proof": {"sources": TEST_SET},
    }
    whole, _ = ask(request, model=str(own), calibration=learned)
    assert whole.model == str(own)


def test_a_neighbour_of_what_the_settings_name_is_not(refused, outside, model, proof):
    for name in ("model", "model2"):
        shutil.copytree(model, outside / name)
    request = RTN | {"model": str(outside / "model2"), "proof": {"sources": proof}}
    refused("model", request, "lies outside", model=str(outside / "model"))


@pytest.mark.parametrize("field", ["proof", "calibration", "canaries"])
def test_rows_of_a_manifest_lie_within_the_roots_too(settings, root, outside, field):
    (outside / "secret.wav").write_bytes(b"secret")
    (root / "link.wav").symlink_to(outside / "secret.wav")
    intake = RequestValidator(Settings(**settings), "cpu")

    def ask(wanted):
        if field == "canaries":
            return intake.canaries(Recordings(**wanted))
        request = ({} if field == "calibration" else RTN) | {field: wanted}
        return intake.completed(QuantizationRequest.model_validate(request), VERSIONS)

    for audio in ("../secret/secret.wav", str(outside / "secret.wav"), "link.wav"):
        wanted = {"sources": manifest(root, {"audio": audio, "text": "x"})}
        with pytest.raises(BadField, match="lies outside") as caught:
            ask(wanted)
        assert caught.value.param == field


def test_a_link_that_stays_within_the_roots_is_followed(ask, root, proof):
    (root / "linked").symlink_to(root / "proof")
    ask(RTN | {"proof": {"sources": str(root / "linked")}})


def test_a_hubs_set_beside_it_does_not_let_a_manifest_point_outside(refused, root, outside):
    (outside / "secret.wav").write_bytes(b"secret")
    local = manifest(root, {"audio": "../secret/secret.wav", "text": "x"})
    refused("proof", RTN | {"proof": {"sources": [local, "some/set:config:split"]}})


@pytest.mark.parametrize(
    ("field", "source", "told"),
    [("calibration", "fleurs:nowhere", "named like"), ("proof", "librispeech", "copies one here")],
)
def test_a_hubs_set_by_a_short_name_is_looked_at_at_once(refused, proof, field, source, told):
    order = {"recipe": {"method": "gptq"}, "proof": {"sources": str(proof)}}
    refused(field, order | {field: {"sources": source}}, told)


@pytest.mark.parametrize("kind", ["manifest", "words"])
def test_words_lie_within_the_roots_too(refused, root, outside, kind):
    folder = root / "linked"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"a")
    if kind == "manifest":
        manifest(outside, {"audio": str(folder / "a.wav"), "text": "secret"})
        (folder / "manifest.jsonl").symlink_to(outside / "manifest.jsonl")
    else:
        (outside / "secret.txt").write_text("secret")
        (folder / "a.txt").symlink_to(outside / "secret.txt")
    refused("proof", RTN | {"proof": {"sources": str(folder)}}, "lies outside")


@pytest.mark.usefixtures("deaf")
def test_a_manifest_that_the_settings_name_may_be_used_with_its_recordings(ask, outside, model):
    recordings(outside, ("hello", "en"), name="mine.jsonl")
    ask(
        {"proof": {"sources": TEST_SET}, "calibration": {"sources": str(outside / "mine.jsonl")}},
        calibration=str(outside / "mine.jsonl"),
    )


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a\0b", "x" * 5000])
@pytest.mark.parametrize("field", ["model", "proof"])
def test_a_path_that_cannot_be_one_is_refused(refused, field, path):
    refused(field, RTN | {field: path if field == "model" else {"sources": path}})


# Models


def test_a_hub_id_passes_unread(ask, proof):
    whole, key = ask(RTN | {"model": "openai/whisper-tiny", "proof": {"sources": proof}})
    assert whole.model == "openai/whisper-tiny"
    assert key


def test_a_model_learns_from_the_bundled_voices_unless_the_settings_say_otherwise(ask, proof, root):
    request = {"model": "openai/whisper-tiny", "proof": {"sources": proof}}
    (source,) = ask(request)[0].recipe.calibration.sources
    assert source.source == str(DEMO / "recordings" / "voices" / "calibration")
    learned = recordings(root / "learned", ("hello", "en"))
    (source,) = ask(request, calibration=learned, calibration_samples=1)[
        0
    ].recipe.calibration.sources
    assert source.source == learned


def test_what_is_no_whisper_is_refused(refused, model, proof):
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    configure(model, model_type="llama")
    assert refused("model", request, "not a Whisper but llama").code == "bad_source"
    (model / "config.json").write_text("{")
    refused("model", request, "no readable config")
    (model / "config.json").unlink()
    refused("model", request, "no readable config")


def test_a_model_without_weights_is_refused(refused, model, proof):
    (model / "model.safetensors").unlink()
    refused("model", RTN | {"model": str(model), "proof": {"sources": proof}}, "no weights")


def test_what_is_quantized_already_is_refused(refused, model, proof):
    configure(model, quantization_config={"quant_method": "compressed-tensors"})
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    refused("model", request, "quantized already")


@pytest.mark.parametrize("lacks", ["tokenizer", "width", "object"])
def test_a_model_that_lacks_what_is_asked_of_it_is_refused(refused, model, proof, lacks):
    if lacks == "tokenizer":
        (model / "tokenizer.json").unlink()
    elif lacks == "width":
        configure(model, drop=["d_model"])
    else:
        (model / "config.json").write_text("[]")
    refused("model", RTN | {"model": str(model), "proof": {"sources": proof}})


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab/extra.json"])
def test_a_model_whose_files_lead_outside_is_refused(refused, model, proof, outside, name):
    (outside / "secret.json").write_text("{}")
    link = model / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside / "secret.json")
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    assert refused("model", request, "lies outside").code == "path_not_allowed"


def test_a_model_may_be_a_snapshot_in_a_hubs_cache(ask, refused, model, proof, root, outside):
    repository = outside / "models--some--model"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    model.rename(snapshot)
    for path in snapshot.iterdir():
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)
    request = RTN | {"model": str(snapshot), "proof": {"sources": proof}}
    ask(request, data_roots=f"{root},{snapshot}")
    (snapshot / "vocab.json").symlink_to(outside / "secret.json")
    refused("model", request, "lies outside", data_roots=f"{root},{snapshot}")


def test_the_settings_own_model_may_be_linked_as_its_operator_wants(ask, model, proof, outside):
    (model / "model.safetensors").rename(outside / "weights")
    (model / "model.safetensors").symlink_to(outside / "weights")
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    ask(request, model=str(model))


def test_a_tokenizer_beside_a_file_of_openais_does_not_lead_outside(refused, root, proof, outside):
    (root / "mine.pt").write_bytes(b"weights")
    (outside / "secret").write_text("{}")
    (root / "tokenizer.json").symlink_to(outside / "secret")
    request = RTN | {"model": str(root / "mine.pt"), "proof": {"sources": proof}}
    refused("model", request, "outside the folders")


def test_a_pipe_among_a_models_files_is_refused_and_not_waited_for(refused, model, proof):
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    refused("model", request, "no regular file")


# Recipes


@pytest.mark.parametrize(
    ("recipe", "device", "why"),
    [
        ({"scheme": "W8A16"}, "cpu", "no kernel for W8A16"),
        ({"scheme": "W3A16"}, "cuda", "no kernel for W3A16"),
        ({"components": {"embedding": "W4A16"}}, "cuda", "served in W8A8"),
        ({"scheme": "W8A8", "emulate": True}, "cpu", "cannot emulate"),
        ({"layers": {"decoder.layers.7.*": "W8A8"}}, "cpu", '"decoder.layers.7.*" matches nothing'),
        ({"layers": {"*.fc1": "W8A16"}}, "cpu", "no kernel for W8A16"),
        (
            {"components": {"encoder.mlp": "W8A8"}, "layers": {"encoder.*": "W4A16"}},
            "cpu",
            "encoder.mlp has no effect",
        ),
    ],
)
def test_a_recipe_that_the_device_does_not_allow_is_refused(refused, recipe, device, why):
    request = {"recipe": {"method": "rtn"} | recipe}
    assert refused("recipe", request, why, device=device).code == "bad_recipe"


def test_a_recipe_that_the_shape_does_not_allow_is_refused(refused, model, proof):
    configure(model, d_model=320)
    request = RTN | {"model": str(model), "proof": {"sources": proof}}
    refused("recipe", request, "groups of 128 do not divide a width of 320")


def test_a_hubs_model_is_looked_at_by_the_job(ask, proof):
    ask({"model": "some/model", "recipe": {"method": "rtn", "scheme": "W3A16"},
         "proof": {"sources": proof}})  # fmt: skip


# Recordings


def test_more_samples_than_there_are_are_refused(ask, refused, proof):
    refused("proof", RTN | {"proof": {"sources": proof, "samples": 3}}, "3 .* there are 2")
    ask(RTN | {"proof": {"sources": proof, "samples": 2}})
    ask(RTN | {"proof": {"sources": proof}})  # 256 by default: at most


def test_a_manifest_with_missing_audio_is_refused(refused, root):
    manifest(root, {"audio": "gone.wav", "text": "x"})
    error = refused("proof", RTN | {"proof": {"sources": str(root)}}, "row 1")
    assert error.code == "no_calibration"


def test_a_mix_that_cannot_be_had_is_refused(refused, proof):
    wanted = {"sources": proof, "samples": 2, "mix": {"zh": 1}}
    refused("proof", RTN | {"proof": wanted}, "zh")


@pytest.mark.parametrize("field", ["proof", "calibration"])
def test_a_language_that_the_model_does_not_know_is_refused(refused, root, field):
    wanted = {"sources": recordings(root / "x", ("nuqneH", "klingon"))}
    request = RTN | {"proof": wanted} if field == "proof" else {"calibration": wanted}
    refused(field, request, "klingon")


def test_an_english_model_is_not_judged_by_chinese(refused, model, proof):
    config = json.loads((model / "generation_config.json").read_text())
    path = model / "generation_config.json"
    path.write_text(json.dumps(config | {"is_multilingual": False}))
    refused("proof", RTN | {"model": str(model), "proof": {"sources": proof}}, "zh")


def test_calibration_and_proof_are_apart(refused, root, proof):
    (root / "copy").mkdir()
    shutil.copy(root / "proof" / "0.wav", root / "copy" / "other name.wav")
    learned = manifest(root / "copy", {"audio": "other name.wav", "text": "other words"})
    request = {"calibration": {"sources": learned}, "proof": {"sources": proof}}
    refused("proof", request, "1 recordings are both calibrated on and judged by")


def test_one_folder_may_be_both_where_its_parts_are_apart(ask, root, proof):
    both = {"sources": proof, "samples": 1}
    ask({
        "calibration": both | {"mix": {"en": 1}},
        "proof": both | {"mix": {"zh": 1}},
    })  # fmt: skip


@pytest.mark.parametrize("fault", ["long", "no sound"])
def test_a_proof_that_cannot_be_heard_is_refused_at_once(refused, root, proof, fault):
    bad = encode(silence(31), rate=8_000) if fault == "long" else b"none"
    (root / "proof" / "1.wav").write_bytes(bad)
    refused("proof", RTN | {"proof": {"sources": proof}}, r"1\.wav")


def test_there_is_no_limit_for_a_language_that_is_not_there(ask, refused, proof):
    request = RTN | {"proof": {"sources": proof}}
    refused("thresholds", request | {"thresholds": {"languages": {"de": {}}}}, "limit for de")
    ask(request | {"thresholds": {"languages": {"zh": {}, "en": {}}}})


def test_an_intervals_end_is_not_asked_of_a_few_recordings(ask, refused, root):
    rows = [(f"{n} mayday", "en") for n in range(30)] + [("求救", "zh")] * 29
    request = RTN | {"proof": {"sources": recordings(root / "x", *rows)}}
    limits = {"min_recovery_low": 0.8}
    refused("thresholds", request | {"thresholds": limits}, "at least 30 .* there are 29 in zh")
    refused("thresholds", request | {"thresholds": {"languages": {"zh": limits}}}, "29 in zh")
    ask(request | {"thresholds": {"languages": {"en": limits}}})


def test_a_language_without_a_word_cannot_be_judged(refused, root):
    wanted = {"sources": recordings(root / "x", ("hello", "en"), ("?!", "zh"))}
    refused("proof", RTN | {"proof": wanted}, "no words in zh")


def test_a_hubs_set_passes_unread_to_calibrate_on_and_not_to_judge_by(ask, refused, proof):
    hub = {"sources": "mozilla-foundation/common_voice:zh-TW:test", "samples": 10**6}
    request = {"calibration": hub, "proof": {"sources": proof}}
    whole, key = ask(request)
    assert whole.recipe.calibration.sources[0].source == hub["sources"]
    assert key != ask(request | {"calibration": hub | {"samples": 8}})[1]
    refused("proof", request | {"proof": hub}, "can be calibrated on")


def test_the_key_changes_with_what_lies_here_beside_a_hubs_set(ask, proof, root):
    learned = recordings(root / "learned", ("hello", "en"))
    sources = ["some/set:config:split", learned]
    request = {"calibration": {"sources": sources}, "proof": {"sources": proof}}
    before = ask(request)[1]
    (root / "learned" / "0.wav").write_bytes(sound("other"))
    assert ask(request)[1] != before


def test_a_hubs_set_beside_it_does_not_let_a_calibrations_manifest_point_outside(
    refused, root, outside, proof
):
    (outside / "secret.wav").write_bytes(sound("secret"))
    local = manifest(root, {"audio": "../secret/secret.wav", "text": "x"})
    request = {"calibration": {"sources": ["some/set:config", local]}, "proof": {"sources": proof}}
    refused("calibration", request, "lies outside")


@pytest.mark.parametrize(
    "source", ["../x:y", "/x:y", "a b:c", "x", "x:y", "a/b/c:d", ":", "-x/y:z"]
)
def test_what_is_no_hubs_name_is_a_path(refused, source):
    refused("proof", RTN | {"proof": {"sources": source}})


def test_what_lies_here_beside_a_hubs_set_is_apart_from_the_proof(refused, root, proof):
    (root / "copy").mkdir()
    shutil.copy(root / "proof" / "0.wav", root / "copy" / "0.wav")
    learned = manifest(root / "copy", {"audio": "0.wav", "text": "mayday"})
    sources = ["some/set:config:split", learned]
    for more in ({}, {"samples": 4, "mix": {"en": 3, "zh": 1}}):
        request = {"calibration": {"sources": sources} | more, "proof": {"sources": proof}}
        refused("proof", request, "both calibrated on and judged by")


def test_what_lies_here_beside_a_hubs_set_is_in_a_language_the_model_knows(refused, root, proof):
    learned = recordings(root / "x", ("nuqneH", "klingon"))
    sources = ["some/set:config:split", learned]
    request = {"calibration": {"sources": sources}, "proof": {"sources": proof}}
    refused("calibration", request, "klingon")


def test_beside_a_hubs_set_only_what_may_be_taken_counts(ask, root, proof):
    """Of the second recording, which is the proof's too, one sample takes nothing."""
    (root / "copy").mkdir()
    shutil.copy(root / "proof" / "0.wav", root / "copy" / "1.wav")
    (root / "copy" / "0.wav").write_bytes(sound("another"))
    rows = [{"audio": f"{n}.wav", "text": "x", "language": ("zh", "en")[n]} for n in range(2)]
    sources = ["some/set:config:split", manifest(root / "copy", *rows)]
    for more in ({"samples": 1}, {"samples": 2, "mix": {"zh": 1}}):
        ask({"calibration": {"sources": sources} | more, "proof": {"sources": proof}})


# Without roots: for a user of the shell


@pytest.fixture
def shell(settings, outside, tmp_path):
    """Looks at an order for a model and recordings that lie outside every root."""
    intake = RequestValidator(Settings(**settings | {"data_roots": ""}), "cpu", any_path=True)

    def shell(request, model=DEMO / "marine-radio", needs_proof=False):
        source = resolve(str(model), tmp_path)
        return intake.checked(
            QuantizationRequest.model_validate(request), source, needs_proof=needs_proof
        )

    return shell


def test_a_user_of_the_shell_may_read_any_path(shell, outside, model):
    judged = recordings(outside / "judged", ("mayday", "en"))
    learned = recordings(outside / "learned", ("hello", "en"))
    request = {"model": str(model), "calibration": {"sources": learned},
             "proof": {"sources": judged}}  # fmt: skip
    whole = shell(request, model)
    assert whole.proof.sources[0].source == judged
    assert whole.recipe.dtype == "bfloat16"


@pytest.mark.parametrize("fault", ["both", "language", "limit", "sound", "hub"])
def test_a_user_of_the_shell_is_refused_what_proves_nothing(shell, outside, fault):
    language = "klingon" if fault == "language" else "en"
    judged = recordings(outside / "judged", ("mayday", language))
    request = {"recipe": {"method": "rtn"}, "proof": {"sources": judged}}
    if fault == "both":
        request = {"calibration": {"sources": judged}, "proof": {"sources": judged}}
    elif fault == "limit":
        request["thresholds"] = {"languages": {"zh": {"min_recovery": 0.5}}}
    elif fault == "sound":
        (outside / "judged" / "0.wav").write_bytes(b"none")
    elif fault == "hub":
        request["proof"] = {"sources": "some/set:config:split"}
    with pytest.raises(BadField):
        shell(request)


@pytest.mark.usefixtures("deaf")
def test_a_proof_may_be_done_without_where_none_is_needed(shell, model):
    assert shell(RTN).proof is None
    assert shell(RTN, needs_proof=True).proof == Recordings(sources=[TEST_SET], samples=None)
    with pytest.raises(BadField, match="A proof needs recordings"):
        shell(RTN, model, needs_proof=True)


# Canaries


def test_canaries_are_read_at_once(settings, proof):
    clips = RequestValidator(Settings(**settings), "cpu").canaries(Recordings(sources=proof))
    assert [(clip.text, clip.language) for clip in clips] == [("mayday", "en"), ("求救", "zh")]


@pytest.mark.parametrize("source", ["some/set:config", "/etc", "/no/such/place"])
def test_canaries_that_cannot_be_read_here_are_refused(settings, source):
    intake = RequestValidator(Settings(**settings), "cpu")
    with pytest.raises(BadField) as caught:
        intake.canaries(Recordings(sources=source))
    assert caught.value.param == "canaries"


def test_more_canaries_than_there_are_are_refused(settings, proof):
    with pytest.raises(BadField, match="there are 2"):
        RequestValidator(Settings(**settings), "cpu").canaries(Recordings(sources=proof, samples=3))


@pytest.mark.parametrize("fault", ["sound", "language"])
def test_canaries_that_cannot_be_heard_are_refused_at_once(settings, root, fault):
    wanted = recordings(root / "x", ("nuqneH", "klingon" if fault == "language" else "en"))
    if fault == "sound":
        (root / "x" / "0.wav").write_bytes(b"none")
    with pytest.raises(BadField):
        RequestValidator(Settings(**settings), "cpu").canaries(Recordings(sources=wanted))


# A recipe that is to be chosen

AUTO = {"scheme": "auto", "scenario": "memory"}


def test_what_a_choice_is_scored_by_is_completed(ask, proof):
    whole, _ = ask({"recipe": AUTO, "proof": {"sources": proof}})
    assert whole.recipe.calibration.sources[0].source == str(DEMO / "recordings" / "calibration")
    assert whole.calibration is None


def test_the_same_wish_has_the_same_key_and_another_has_another(ask, proof):
    def key(**recipe):
        return ask({"recipe": AUTO | recipe, "proof": {"sources": proof}})[1]

    assert key() == key(clip_seconds=10.0)
    assert len({key(), key(scenario="latency"), key(most_loss=0.1), key(vram_gb=8)}) == 4


def test_another_device_has_another_key(ask, proof, monkeypatch):
    order = {"recipe": AUTO, "proof": {"sources": proof}}
    mine = ask(order)[1]
    assert ask(order)[1] == mine
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    assert ask(order)[1] != mine


@pytest.mark.parametrize(
    ("limit", "told"),
    [({"most_bytes": 1000}, "the least that would do is"), ({"vram_gb": 0.5}, "no room for one")],
)
def test_a_budget_that_nothing_can_fit_is_refused_at_once(refused, proof, limit, told):
    (field,) = limit
    order = {"recipe": AUTO | limit, "proof": {"sources": proof}}
    refused(f"recipe.{field}", order, match=told)
