"""marlinscribe bench, against the real server."""

import json

import pytest

from app.cli import main
from tests.engine.conftest import RECORDINGS


def test_a_real_server_tells_how_fast_it_is_and_where_the_time_goes(server, capsys):
    folder = RECORDINGS / "test"
    clips = [str(path) for path in sorted(folder.glob("*.ogg"))[:3]]
    asked = ["--concurrency", "1,4", "--requests", "8", "--reference", str(folder), "--json"]
    assert main(["bench", "--url", server.url, *clips, *asked]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["server"]["scheme"].startswith("W4A16")
    for one in told["loads"]:
        assert (one["succeeded"], one["errors"], one["notes"]) == (8, {}, [])
        assert one["wer"] < 0.3
        assert 0 < one["ttft"]["p50"] <= one["latency"]["p99"]
        assert sum(one["stages"].values()) == pytest.approx(1)
        assert one["stages"]["engine"] > 0.3
        assert sum(one["engine"].values()) == pytest.approx(1)
        assert min(one["engine"]["prefill"], one["engine"]["decode"], one["token"]) > 0
