"""Where memory goes adds up, and nothing is promised that is not there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import EngineFailed
from app.models.whisper_vllm.budget import GIB, LIMITS, MIB, Memory, budget_of
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.shape import SHAPES

LARGE_V2 = SHAPES["openai/whisper-large-v2"].geometry("W4A16")
SPARE = 2 * 128 * LARGE_V2.kv_bytes_a_token


def lines(budget):
    ours = budget.context + budget.weights + budget.encoding + budget.graphs + budget.kv
    return budget.taken + budget.kept + ours + budget.left


@given(
    model=st.sampled_from(sorted(SHAPES)),
    scheme=st.sampled_from(["W4A16", "bf16"]),
    device=st.sampled_from(["cuda", "cpu"]),
    total=st.integers(0, 100 * GIB),
    share=st.floats(0, 1),
)
def test_the_lines_add_up_to_the_total_and_what_is_left_is_never_less_than_nothing(
    model, scheme, device, total, share
):
    memory = Memory(total, int(total * share))
    try:
        budget = budget_of(SHAPES[model].geometry(scheme), device, memory)
    except EngineFailed:
        return
    assert lines(budget) == total
    assert budget.left >= 0
    assert 1 <= budget.windows <= min(budget.fits, LIMITS[device].windows)


@pytest.mark.parametrize("free", range(2 * GIB, 10 * GIB, 100 * MIB))
def test_no_window_that_would_fit_is_left_out(free):
    """What is left holds none more, be it one whose activations are shared or one of its own."""
    budget = budget_of(LARGE_V2, "cuda", Memory(free, free))
    alone = budget.windows < LIMITS["cuda"].at_once
    assert budget.left < budget.window + (budget.encoding // budget.at_once if alone else 0)


def test_a_card_loses_a_display_and_its_driver_before_the_engine():
    memory = Memory.of_a_card(8)
    assert memory.total == 8192 * MIB
    assert 7 * GIB < memory.free < 7.6 * GIB


def test_a_machine_loses_its_system_and_half_of_the_rest():
    memory = Memory.of_a_machine(16)
    budget = budget_of(LARGE_V2, "cpu", memory)
    assert memory.total == 16 * GIB > memory.free
    assert budget.kept == memory.free // 2
    assert (budget.context, budget.graphs, budget.encoding) == (0, 0, 0)


def test_a_tiny_card_has_nothing_rather_than_less():
    assert Memory.of_a_card(0.5).free == 0


def test_large_v2_takes_a_gib_and_a_fifth_beside_weights_and_windows():
    """What every engine on a card was planned with so far."""
    budget = budget_of(LARGE_V2, "cuda", Memory(24 * GIB, 24 * GIB))
    own = budget.context + budget.graphs + budget.encoding
    assert own == pytest.approx(1.2 * GIB, rel=0.001)


def test_a_small_model_is_not_charged_a_large_ones_activations():
    tiny = SHAPES["openai/whisper-tiny"].geometry("W4A16")
    large = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8))
    small = budget_of(tiny, "cuda", Memory.of_a_card(8))
    assert small.encoding == large.encoding * tiny.d_model // LARGE_V2.d_model


def test_windows_that_the_encoder_does_not_take_at_once_cost_no_activations():
    one = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8), windows=1)
    all_of_them = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8))
    assert (one.at_once, all_of_them.at_once) == (1, 6)
    assert all_of_them.encoding == 6 * one.encoding
    assert EnginePlan.of(one).batched_tokens == 1 * 1500 + 128


def test_the_pool_holds_the_windows_and_the_blocks_that_vllm_keeps():
    budget = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8))
    assert budget.kv == budget.windows * budget.window + SPARE


def test_a_pool_of_the_printed_size_holds_the_printed_windows():
    """MARLINSCRIBE_KV_CACHE_BYTES as `plan` prints it changes nothing."""
    budget = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8))
    again = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8), kv_bytes=budget.kv)
    assert EnginePlan.of(again) == EnginePlan.of(budget)


def test_a_pool_in_which_vllm_would_not_start_is_refused():
    least = LARGE_V2.window_bytes("cuda") + SPARE
    assert budget_of(LARGE_V2, "cuda", Memory.of_a_card(8), kv_bytes=least).windows == 1
    with pytest.raises(EngineFailed, match=r"MARLINSCRIBE_KV_CACHE_BYTES is .* one window takes"):
        budget_of(LARGE_V2, "cuda", Memory.of_a_card(8), kv_bytes=least - 1)


def test_a_pool_larger_than_the_card_shows_as_less_than_nothing_left():
    budget = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8), kv_bytes=8 * GIB)
    assert budget.left < 0
    assert lines(budget) == 8 * GIB


@pytest.mark.parametrize(("device", "window"), [("cuda", 320), ("cpu", 208)])
def test_one_byte_less_than_one_window_needs_is_refused(device, window):
    whole = budget_of(LARGE_V2, device, Memory(100 * GIB, 100 * GIB), windows=1)
    needed = whole.context + whole.graphs + whole.weights + whole.encoding + whole.kv
    half = 2 if device == "cpu" else 1
    enough, short = half * needed, half * (needed - 1)
    assert budget_of(LARGE_V2, device, Memory(enough, enough)).windows == 1
    with pytest.raises(EngineFailed, match=f"One window needs {window} MiB"):
        budget_of(LARGE_V2, device, Memory(short, short))


def test_larger_weights_leave_room_for_fewer_windows():
    heavy = replace(LARGE_V2, weight_bytes=LARGE_V2.weight_bytes + LARGE_V2.window_bytes("cuda"))
    light = budget_of(LARGE_V2, "cuda", Memory.of_a_card(8))
    assert budget_of(heavy, "cuda", Memory.of_a_card(8)).fits == light.fits - 1
