"""marlinscribe quantize: what serve would make, made beforehand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.server import DEMO, Server
from tests.engine.conftest import MAYDAY


def quantize(cache, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "app", "quantize", *arguments],
        env=os.environ | {"MARLINSCRIBE_CACHE_DIR": str(cache), "MARLINSCRIBE_MODEL": "demo"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_checkpoint_made_beforehand_is_the_one_that_is_served(tmp_path):
    made = quantize(tmp_path, "--method", "rtn", "--group-size", "64")
    assert made.returncode == 0, made.stderr
    folder = Path(made.stdout.strip())
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert (manifest["recipe"]["method"], manifest["recipe"]["group_size"]) == ("rtn", 64)
    again = quantize(tmp_path, "--method", "rtn", "--group-size", "64")
    assert again.stdout == made.stdout
    assert "quantizing marine-radio" not in again.stderr
    with Server(cache_dir=tmp_path, quantization="rtn", group_size=64) as server:
        assert "quantizing" not in server.read_log()
        assert server.transcribe(MAYDAY).is_success


@pytest.mark.slow
def test_a_checkpoint_is_proven_without_a_server_and_the_status_is_the_verdict(tmp_path):
    recordings = DEMO / "recordings" / "test"
    lines = (recordings / "manifest.jsonl").read_text("utf-8").splitlines()[:3]
    rows = [json.loads(line) for line in lines]
    rows = [row | {"audio": str(recordings / row["audio"])} for row in rows]
    (tmp_path / "judged.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ("--method", "rtn", "--prove", str(tmp_path / "judged.jsonl"))
    proof = tmp_path / "proof.json"
    proven = quantize(tmp_path, *asked, "--min-recovery", "0", "--json", str(proof))
    assert proven.returncode == 0, proven.stderr
    assert "proven" in proven.stderr
    assert "Traceback" not in proven.stderr  # an engine that was told to end has not failed
    assert len(json.loads(proof.read_text("utf-8"))["sentences"]) == 3
    assert quantize(tmp_path, *asked, "--min-recovery", "2").returncode == 2


def test_what_cannot_be_made_is_told_with_what_to_do(tmp_path):
    refused = quantize(tmp_path, str(tmp_path / "nothing"))
    assert refused.returncode == 1
    assert "nothing" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert quantize(tmp_path, "--group-size", "100").returncode == 2
