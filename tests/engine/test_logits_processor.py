"""The adapter masks exactly what the rules forbid."""

import random
from dataclasses import asdict

import pytest
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate

from app.environment import DEMO
from app.models.whisper_vllm.rules import Allow, WindowRules, forced_steps, next_step

CHECKPOINT = DEMO / "marine-radio"
VOCABULARY = 2560


class FakeConfig:
    class model_config:  # noqa: N801  vLLM's name
        model = str(CHECKPOINT)


@pytest.fixture
def processor():
    from app.models.whisper_vllm.logits_processor import WhisperLogitsProcessor

    return WhisperLogitsProcessor(FakeConfig, torch.device("cpu"), False)


def add(processor, *requests):
    """Have requests come, each with its rules (None for one without) and what it generated."""
    added = []
    for row, (rules, generated) in enumerate(requests):
        carried = None if rules is None else {"marlinscribe": asdict(rules)}
        added.append((row, SamplingParams(extra_args=carried), None, generated))
    processor.update_state(BatchUpdate(len(added), [], added, []))


def banned_in(row):
    return {i for i in range(VOCABULARY) if row[i] == -torch.inf}


def masked(processor, rules, generated, logits):
    add(processor, (rules, generated))
    (row,) = processor.apply(logits[None].clone())
    return banned_in(row)


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


def test_each_row_of_a_batch_is_masked_as_it_would_be_alone(processor):
    tokens = processor._tokens
    first = tokens.first_timestamp
    logits = torch.randn(6, VOCABULARY, generator=torch.Generator().manual_seed(0))
    requests = [
        (WindowRules(), []),
        (None, [5]),
        (WindowRules(), [902, tokens.transcribe]),
        (WindowRules(), [902, tokens.transcribe, first, 5]),
        (WindowRules(frames=100), [902, tokens.transcribe, first, 5, first + 40]),
        (WindowRules(timestamps=False), [902, tokens.transcribe, tokens.no_timestamps, 5]),
    ]
    alone = []
    for (rules, generated), row in zip(requests, logits, strict=True):
        alone.append(set() if rules is None else masked(processor, rules, generated, row))
    add(processor, *requests)
    together = [banned_in(row) for row in processor.apply(logits.clone())]
    assert together == alone


def test_a_request_keeps_its_rules_where_its_row_moves(processor):
    from vllm.v1.sample.logits_processor import MoveDirectionality

    tokens = processor._tokens
    add(processor, (WindowRules(), []), (WindowRules(), [902, tokens.transcribe]))
    moved = [(1, 0, MoveDirectionality.UNIDIRECTIONAL)]
    processor.update_state(BatchUpdate(1, [0], [], moved))
    (row,) = processor.apply(torch.zeros(1, VOCABULARY))
    alone = masked(processor, WindowRules(), [902, tokens.transcribe], torch.zeros(VOCABULARY))
    assert banned_in(row) == alone
