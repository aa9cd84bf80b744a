"""marlinscribe quantize: what it asks for, and what it refuses before anything is spent on it."""

import json
import shutil

import pytest

import app.commands.quantize
from app.checkpoints.checkpoint import Checkpoint
from app.cli import main
from app.environment import DEMO
from app.quantization.auto_recipe import AutoRecipe
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.sources.resolve import resolve
from tests.quantization.fakes import proof, recordings


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        shutil.copy(DEMO / "marine-radio" / name, folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The orders that got so far as to be made; nothing is."""
    orders = []

    async def make(order, loader, tell):
        orders.append(order)
        source = resolve(order.model, tmp_path)
        judged = proof(*read(order.proof)) if order.proof else None
        return Checkpoint(source, source.folder), judged

    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    monkeypatch.setattr(app.commands.quantize, "run_job", make)
    monkeypatch.setattr("app.commands.quantize.forkserver.start", lambda *_: None)
    return orders


def test_without_recordings_to_judge_by_it_is_made_and_not_proven(made, model, capsys):
    assert main(["quantize", str(model), "--method", "rtn", "--group-size", "64"]) == 0
    (order,) = made
    assert (order.recipe.label, order.recipe.dtype, order.proof) == (
        "W4A16 rtn g64",
        "bfloat16",
        None,
    )
    assert capsys.readouterr().out.strip() == str(model)


def test_what_it_calibrates_on_does_not_judge(made, model, tmp_path, capsys):
    both = recordings(tmp_path / "both", ("mayday", "en"))
    asked = ["quantize", str(model), "--calibration", both, "--prove", both]
    assert main(asked) == 1
    assert made == []
    assert "proof: 1 recordings are both calibrated on and judged by" in capsys.readouterr().err


def test_a_hubs_set_judges_by_its_short_recordings(made, model, tmp_path, monkeypatch, caplog):
    def copy(_, source, language, samples, folder):
        recordings(folder / "in", ("mayday", "en"))
        row = (folder / "in" / "manifest.jsonl").read_text("utf-8").replace('"0', '"in/0')
        (folder / "up-to-30-s.jsonl").write_text(row)
        (folder / "manifest.jsonl").write_text(row + "\n")

    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("app.quantization.quantizer_process.Quantizer.copy", copy)
    assert main(["quantize", str(model), "--method", "rtn", "--prove", "librispeech"]) == 0
    assert [clip.text for clip in read(made[0].proof)] == ["mayday"]
    assert "librispeech: 1 recordings of over 30 s are left out" in caplog.text


def test_a_proof_that_says_little_is_said_to(made, model, tmp_path, capsys, monkeypatch):
    judged = recordings(tmp_path / "judged", ("mayday", "en"))
    small = proof(*read(Recordings(sources=judged)), notes=["en: 1 of at least 30 recordings"])
    monkeypatch.setattr("tests.commands.test_quantize_command.proof", lambda *_: small)
    assert main(["quantize", str(model), "--method", "rtn", "--prove", judged]) == 0
    assert "uncertain: en: 1 of at least 30" in " ".join(capsys.readouterr().err.split())


def test_a_whole_order_may_come_in_a_file(made, model, tmp_path):
    order = {
        "model": str(model),
        "recipe": {"method": "rtn", "components": {"encoder.mlp": "none"}},
        "proof": {"sources": recordings(tmp_path / "judged", ("mayday", "en"), ("求救", "zh"))},
        "thresholds": {"min_recovery": 0.5, "languages": {"zh": {"min_recovery": 0.7}}},
    }
    file = tmp_path / "order.json"
    file.write_text(json.dumps(order))
    assert main(["quantize", "--order", str(file), "--json", str(tmp_path / "proof.json")]) == 0
    (asked,) = made
    assert asked.recipe.components == {"encoder.mlp": "none"}
    assert asked.thresholds.of("zh").min_recovery == 0.7
    assert json.loads((tmp_path / "proof.json").read_text("utf-8"))["reasons"] == []


def test_an_order_may_leave_its_recipe_to_the_machine(made, model, tmp_path):
    asked = {"scheme": "auto", "scenario": "memory", "most_loss": 0.02}
    file = tmp_path / "order.json"
    learned = {"sources": recordings(tmp_path / "learned", ("mayday", "en"))}
    order = {"model": str(model), "recipe": asked, "calibration": learned}
    file.write_text(json.dumps(order))
    assert main(["quantize", "--order", str(file)]) == 0
    assert isinstance(made[0].recipe, AutoRecipe)
    assert made[0].recipe.calibration  # which losses are scored by


def test_an_order_that_contradicts_itself_is_refused_with_its_field(made, model, tmp_path, capsys):
    asked = {"scheme": "auto", "scenario": "memory", "layers": {"*": "W8A8"}}
    file = tmp_path / "order.json"
    file.write_text(json.dumps({"model": str(model), "recipe": asked}))
    assert main(["quantize", "--order", str(file)]) == 2
    assert 'recipe.layers: scheme "auto" chooses it' in " ".join(capsys.readouterr().err.split())
    assert made == []


def test_an_order_without_a_proof_is_made_and_not_proven(made, model, tmp_path, capsys):
    recipe = {"method": "rtn", "components": {"encoder.mlp": "none"}}
    order = {"model": str(model), "recipe": recipe}
    file = tmp_path / "order.json"
    file.write_text(json.dumps(order))
    assert main(["quantize", "--order", str(file)]) == 0
    (asked,) = made
    assert (asked.recipe.components, asked.proof) == ({"encoder.mlp": "none"}, None)
    assert capsys.readouterr().out.strip() == str(model)


def test_parts_may_have_schemes_of_their_own(made, model):
    parts = ["--component", "encoder.mlp=none", "--component", "decoder.mlp=W8A8"]
    assert main(["quantize", str(model), "--method", "rtn", *parts]) == 0
    assert made[0].recipe.components == {"encoder.mlp": "none", "decoder.mlp": "W8A8"}


def test_layers_may_have_schemes_of_their_own(made, model):
    asked = ["--layers", "decoder.*=W4A16 g32", "--layers", "*.layers.[01].fc1=W8A8",
             "--component", "decoder.mlp=W4A16 g64"]  # fmt: skip
    assert main(["quantize", str(model), "--method", "rtn", *asked[:4]]) == 0
    layers = {"decoder.*": "W4A16 g32", "*.layers.[01].fc1": "W8A8"}
    assert [*made[0].recipe.layers.items()] == [*layers.items()]
    assert main(["quantize", str(model), "--method", "rtn", *asked[2:]]) == 0
    assert made[1].recipe.components == {"decoder.mlp": "W4A16 g64"}


def test_components_that_only_the_settings_ask_for_give_way_to_layers(made, model, capsys):
    config = json.loads((model / "config.json").read_text("utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"d_model": 512}))  # a small model's
    heard = str(DEMO / "recordings" / "calibration")
    asked = ["quantize", str(model), "--calibration", heard, "--layers", "encoder.*.fc?=W4A16"]
    assert main(asked) == 0
    assert made[0].recipe.components == {"encoder.attention": "W8A8"}
    assert main([*asked, "--component", "encoder.mlp=W8A8"]) == 1
    assert "encoder.mlp has no effect" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("option", "given", "told"),
    [("--layers", "*.fc1", "such as decoder.layers.[0-2].*=W8A8"), ("--layers", "=W8A8", "such as"),
     ("--layers", "*=W8A8 g32", "is no scheme: there are W4A16"),
     ("--component", "encoder.mlp=W5A16", '"W5A16" is no scheme')],
)  # fmt: skip
def test_layers_that_are_none_are_refused(made, model, capsys, option, given, told):
    with pytest.raises(SystemExit) as ended:
        main(["quantize", str(model), option, given])
    assert (ended.value.code, made) == (2, [])
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("part", ["encoder", "encoder.mlp", "x=none", "="])
def test_a_part_that_is_none_is_refused(made, model, capsys, part):
    with pytest.raises(SystemExit) as ended:
        main(["quantize", str(model), "--component", part])
    assert (ended.value.code, made) == (2, [])
    assert "such as encoder.mlp=W8A8" in capsys.readouterr().err


def test_a_recipe_that_contradicts_itself_is_told_without_a_traceback(made, model, capsys):
    every = ["encoder.attention", "encoder.mlp", "decoder.self_attention",
             "decoder.cross_attention", "decoder.mlp"]  # fmt: skip
    parts = [word for name in every for word in ("--component", f"{name}=none")]
    assert main(["quantize", str(model), "--method", "rtn", *parts]) == 1
    assert made == []
    assert "nothing would be quantized" in " ".join(capsys.readouterr().err.split())


def test_a_limit_without_recordings_to_judge_by_is_refused(made, model, capsys):
    assert main(["quantize", str(model), "--method", "rtn", "--min-recovery", "0.5"]) == 2
    assert made == []
    assert "without --prove" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        ('{"thresholds": {"min_recovery": 0.5}}', [], "without a proof"),
        ("{}", ["--component", "encoder.mlp=none"], "leave components to"),
        ("{", [], "JSON"),
        ('{"recipe": {"scheme": "W5A16"}}', [], "recipe.scheme"),
        ("{}", ["--scheme", "W8A8"], "leave scheme to"),
        ("{}", ["somewhere"], "leave model to"),
        (None, [], "there is no such file"),
    ],
)
def test_an_order_that_is_none_is_refused(made, tmp_path, capsys, content, more, told):
    file = tmp_path / "order.json"
    if content is not None:
        file.write_text(content)
    assert main(["quantize", *more, "--order", str(file)]) == 2
    assert made == []
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("where", ["no/such/folder/proof.json", "."])
def test_a_result_that_cannot_be_written_is_told_before_the_work(
    made, model, tmp_path, capsys, where
):
    assert main(["quantize", str(model), "--method", "rtn", "--json", str(tmp_path / where)]) == 2
    assert made == []
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())


def test_looking_whether_it_can_be_written_leaves_nothing(made, model, tmp_path):
    out, old = tmp_path / "out.json", tmp_path / "old.json"
    old.write_text("kept")
    for file in (out, old):
        assert main(["quantize", str(model), "--method", "rtn", "--json", str(file)]) == 0
    assert (out.exists(), old.read_text()) == (False, "kept")


def test_an_evaluation_that_cannot_be_written_down_is_not_begun(tmp_path, capsys):
    judged = recordings(tmp_path / "judged", ("mayday", "en"))
    asked = ["evaluate", judged, "--url", "http://127.0.0.1:9", "--json", "/no/such/folder/x.json"]
    assert main(asked) == 2
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())
