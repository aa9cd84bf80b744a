"""Direct steps through the real engine, beside vLLM's own."""

import json
import subprocess
import sys


def test_direct_steps_choose_the_tokens_that_vllms_own_do(tmp_path):
    file = tmp_path / "heard.json"
    command = [sys.executable, "-m", "tests.engine.direct_step", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr[-3000:]
    heard = json.loads(file.read_text("utf-8"))
    assert heard["directly"] == heard["by_vllm"]
    assert all(len(tokens) > 5 for tokens in heard["directly"])
