"""marlinscribe plan: what it prints, and how it ends."""

import json
import re
import shutil
import socket

import pytest

from app.cli import main
from app.environment import DEMO
from app.models.whisper_vllm import plan as engine
from app.models.whisper_vllm.budget import GIB

MARINE = DEMO / "marine-radio"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test here may reach for the network."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked a host up"))


@pytest.fixture
def run(capsys):
    """Status, standard output and standard error; wrapped lines made whole."""

    def run(*arguments):
        status = main(["plan", *arguments])
        out, err = capsys.readouterr()
        return status, out, " ".join(err.split())

    return run


def column(out):
    """The table's numbers by the words before them."""
    rows = re.findall(r"│ (.*?) +│ +(-?\d+) │", out)
    return {name: int(size) for name, size in rows}


def settings(out):
    return dict(re.findall(r"^(MARLINSCRIBE_\w+)=(.*)$", out, re.MULTILINE))


def test_a_card_of_8_gb_is_shown_line_by_line(run):
    status, out, _ = run("--vram", "8")
    sizes = column(out)
    assert status == 0
    assert sizes.pop("total") == 8192
    assert sum(sizes.values()) == pytest.approx(8192, abs=len(sizes))
    assert sizes["weights"] == 866
    assert out.count("estimated") == 4
    assert settings(out)["MARLINSCRIBE_MAX_WINDOWS"] == "16"
    assert int(settings(out)["MARLINSCRIBE_KV_CACHE_BYTES"]) >> 20 == sizes["keys and values"]


def test_a_machine_without_a_card_has_no_lines_of_cuda(run):
    _, out, _ = run("--ram", "16")
    assert "CUDA" not in out
    assert settings(out)["MARLINSCRIBE_DEVICE"] == "cpu"


def test_a_model_of_another_size_is_planned_by_its_id(run):
    _, out, _ = run("--vram", "8", "--model", "openai/whisper-medium", "--scheme", "bf16")
    assert column(out)["weights"] == 1457
    assert "openai/whisper-medium, bf16" in out


def test_a_folder_is_planned_as_it_would_be_served(run):
    """Quantized where nothing else is said; from its files where it stays as it is."""
    _, quantized, _ = run("--vram", "8", "--model", str(MARINE))
    _, plain, _ = run("--vram", "8", "--model", str(MARINE), "--scheme", "bf16")
    assert (column(quantized)["weights"], column(plain)["weights"]) == (5, 11)
    assert "computed from the shape" in quantized
    assert "read from its files" in plain


@pytest.fixture
def made(tmp_path):
    """A folder that says it is quantized."""
    shutil.copytree(MARINE, tmp_path / "made")
    file = tmp_path / "made" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "compressed-tensors"}
    file.write_text(json.dumps(config), "utf-8")
    return file.parent


def test_a_checkpoint_that_is_made_is_weighed_by_its_files(run, made):
    status, out, _ = run("--vram", "8", "--model", str(made))
    assert status == 0
    assert column(out)["weights"] == 11
    assert "made, as it came" in out


def test_a_checkpoint_that_is_made_takes_no_scheme(run, made):
    status, _, told = run("--vram", "8", "--model", str(made), "--scheme", "W4A16")
    assert status == 2
    assert "is quantized already. Leave --scheme out." in told


def test_too_small_a_card_is_told_and_ends_with_status_1(run):
    status, out, told = run("--vram", "2")
    assert (status, out) == (1, "")
    assert told.startswith("One window needs 320 MiB for keys and values")


def test_a_model_of_unknown_shape_is_told_with_those_that_are_known(run):
    status, _, told = run("--vram", "8", "--model", "someone/whisper-of-theirs")
    assert status == 2
    assert "someone/whisper-of-theirs is no folder here" in told
    assert "MediaTek-Research/Breeze-ASR-26" in told


def test_a_folder_without_a_whisper_is_told(run, tmp_path):
    status, _, told = run("--vram", "8", "--model", str(tmp_path))
    assert status == 2
    assert "no readable config.json" in told


def test_a_scheme_that_the_device_does_not_run_is_told(run):
    status, _, told = run("--ram", "8", "--scheme", "W8A16")
    assert status == 2
    assert "no kernel for W8A16 on this device (cpu)" in told


@pytest.mark.parametrize(
    "arguments",
    [["--vram", "eight"], ["--vram", "nan"], ["--vram", "0"], ["--ram", "-1"],
     ["--vram", "8", "--ram", "8"], ["--scheme", "W5A16"]],
)  # fmt: skip
def test_bad_arguments_are_refused(run, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert "argument --" in capsys.readouterr().err


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(engine, "available_memory", lambda: 6 * GIB)
    monkeypatch.setattr(engine, "_device_memory", lambda: (5 * GIB, 8 * GIB))


@pytest.mark.parametrize("has_half_precision", [True, False])
def test_this_machine_is_planned_as_the_service_would(run, here, monkeypatch, has_half_precision):
    monkeypatch.setattr(engine, "has_half_precision", lambda: has_half_precision)
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("MARLINSCRIBE_DEVICE", device)
        _, out, _ = run("--model", str(MARINE), "--scheme", "bf16")
        told, shape = settings(out), engine.shape_on(MARINE, device)
        assert told.pop("MARLINSCRIBE_DEVICE") == device
        planned = engine.plan_engine(shape, device)
        assert told["MARLINSCRIBE_MAX_WINDOWS"] == str(planned.windows)
        kept = int(told["MARLINSCRIBE_KV_CACHE_BYTES"])
        assert engine.plan_engine(shape, device, kv_bytes=kept) == planned
        assert "measured" in out
        assert "as sold" not in out


def test_four_bits_take_32_where_the_processor_has_no_avx_512(run, here, monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    weights = {}
    for has_half_precision in (True, False):
        monkeypatch.setattr(engine, "has_half_precision", lambda has=has_half_precision: has)
        _, out, _ = run("--model", "openai/whisper-base")
        weights[has_half_precision] = column(out)["weights"]
        assert ("in float32: no AVX-512 here" in out) is not has_half_precision
    assert weights == {True: 76, False: 277}
    _, out, _ = run("--ram", "6", "--model", "openai/whisper-base")
    assert column(out)["weights"] == 76  # of another machine, whose processor is not known


def test_this_machines_settings_are_kept(run, here, monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    monkeypatch.setenv("MARLINSCRIBE_MAX_WINDOWS", "2")
    small = ("--model", "openai/whisper-base")
    assert settings(run(*small)[1])["MARLINSCRIBE_MAX_WINDOWS"] == "2"
    assert settings(run("--ram", "16")[1])["MARLINSCRIBE_MAX_WINDOWS"] == "31"


def test_a_bad_setting_of_this_machine_is_named(run, here, monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_MAX_WINDOWS", "many")
    status, _, told = run()
    assert status == 2
    assert "MARLINSCRIBE_MAX_WINDOWS" in told


def test_a_file_of_settings_names_its_command_and_leaves_the_pool_to_the_service(run):
    _, out, _ = run("--vram", "8", "--model", "openai/whisper-small", "--scheme", "W8A8", "--env")
    command = "marlinscribe plan --vram 8 --model openai/whisper-small --scheme W8A8 --env"
    assert out.splitlines()[0] == f"# {command}"
    assert settings(out) == {"MARLINSCRIBE_DEVICE": "cuda", "MARLINSCRIBE_MAX_WINDOWS": "32"}


def test_models_that_are_served_side_by_side_have_a_share_each(run):
    status, out, _ = run("--vram", "8", "--beside", "openai/whisper-base")
    assert status == 0
    assert out.count("its share of a card of 8 GB") == 2
    assert "openai/whisper-base, W4A16" in out


def test_models_that_do_not_fit_side_by_side_are_refused_with_the_arithmetic(run):
    large = ("--scheme", "fp16", "--beside", "openai/whisper-large-v3")
    status, _, told = run("--vram", "6", *large)
    assert status == 1
    assert "1 openai/whisper-large-v2) + " in told
    assert "do not fit together" in told
