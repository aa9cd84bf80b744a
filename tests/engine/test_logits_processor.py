"""The adapter masks exactly what the rules forbid."""

import random

import pytest
import torch

from app.environment import DEMO
from app.models.whisper_vllm.rules import Allow, WindowRules, forced_steps, next_step

CHECKPOINT = DEMO / "marine-radio"
VOCABULARY = 2560


class FakeConfig:
    class model_config:  # noqa: N801  vLLM's name
        model = str(CHECKPOINT)


@pytest.fixture(scope="module")
def processor():
    from app.models.whisper_vllm.logits_processor import WhisperLogitsProcessor

    return WhisperLogitsProcessor(FakeConfig, torch.device("cpu"), False)


def masked(processor, rules, generated, logits):
    forced = forced_steps(processor._tokens, rules)
    row = processor._apply(forced, generated, logits.clone(), rules.frames)
    return {i for i in range(VOCABULARY) if row[i] == -torch.inf}


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_walk_through_the_grammar_is_masked_as_the_rules_say(processor, timestamps):
    tokens, rules = processor._tokens, WindowRules(timestamps=timestamps)
    forced, choose = forced_steps(processor._tokens, rules), random.Random(0)
    generated = []
    for _ in range(60):
        # Text and its end outweigh all timestamps: only the grammar speaks.
        logits = torch.zeros(VOCABULARY)
        logits[: tokens.end_of_text + 1] = 50
        banned = masked(processor, rules, generated, logits)
        step = next_step(tokens, forced, generated)
        if isinstance(step, Allow):
            expected = set(range(VOCABULARY)) - set(step.ids)
        else:
            expected = {i for r in step.ranges for i in r} | set(tokens.suppressed)
            expected |= set(range(tokens.timestamps.stop, VOCABULARY))
        assert banned == expected
        generated.append(choose.choice(sorted(set(range(VOCABULARY)) - banned)))
        if generated[-1] == tokens.end_of_text:
            break


def test_timestamps_that_are_likelier_together_leave_no_text(processor):
    tokens = processor._tokens
    generated = [902, tokens.transcribe, tokens.first_timestamp, 5]
    even = torch.zeros(VOCABULARY)  # 1500 timestamps of the same weight outweigh any one word
    assert set(range(tokens.end_of_text + 1)) <= masked(processor, WindowRules(), generated, even)
    even[5] = 20
    assert 5 not in masked(processor, WindowRules(), generated, even)


def test_no_timestamp_lies_behind_a_window_that_is_heard_shortened(processor):
    tokens, first = processor._tokens, processor._tokens.first_timestamp
    banned = masked(processor, WindowRules(frames=100), [902, tokens.transcribe, first, 5],
                    torch.zeros(VOCABULARY))  # fmt: skip
    assert set(range(first + 101, tokens.timestamps.stop)) <= banned
    assert first + 100 not in banned
