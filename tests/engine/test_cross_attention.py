"""Keys and values of eight bits through the real engine, beside vLLM's own of sixteen."""

import json
import subprocess
import sys

import httpx
import pytest


def heard_with(bits, folder):
    file = folder / f"{bits}.json"
    command = [sys.executable, "-m", "tests.engine.cross_attention", str(file), str(bits)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(file.read_text("utf-8"))


def test_eight_bits_choose_the_tokens_that_sixteen_do_about_as_surely(tmp_path):
    ours, vllms = heard_with(8, tmp_path), heard_with(16, tmp_path)
    assert ours[0] == ours[2]
    for one, other in zip(ours[0] + ours[1], vllms[0] + vllms[1], strict=True):
        assert [token for token, _ in one] == [token for token, _ in other]
        sure, as_sure = ([logprob for _, logprob in told] for told in (one, other))
        assert sure == pytest.approx(as_sure, abs=0.1)
        assert sure != as_sure  # or the same was heard twice


def test_the_list_of_models_tells_the_bits_of_cross_attention(server):
    model = httpx.get(f"{server.url}/v1/models").json()["data"][0]
    assert model["marlinscribe"]["cross_attention"] == {"bits": 8}
