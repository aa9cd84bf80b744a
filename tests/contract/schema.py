"""schemathesis against a real server and its own /openapi.json.

    python -m tests.contract.schema [schemathesis run's options]

What is generated and what may be answered is set up in schemathesis.toml and hooks.py beside
this file.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from harness.server import DEMO, Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The admin's opens every route.
KEYS: dict[str, Any] = {"api_keys": "a-client", "admin_key": "an-admin"}
# Addresses are checked, and found to stand for nothing or to be on the inside.
OUTBOUND: dict[str, Any] = {
    "webhook_secret": "whsec_bWFyaW5lIHJhZGlvIGlzIGEgc2VjcmV0",
    "fetch_urls": True,
    "fetch_seconds": 3,
}
ADMIN = {"authorization": f"Bearer {KEYS['admin_key']}"}
SPEECH, FILES, BATCHES = "/v1/audio/transcriptions", "/v1/files", "/v1/batches"


def main() -> int:
    settings = KEYS | OUTBOUND
    with tempfile.TemporaryDirectory() as cache, Server(cache_dir=cache, **settings) as server:
        command = [
            str(ROOT / ".contract/venv/bin/schemathesis"),
            "--config-file", str(HERE / "schemathesis.toml"),
            "run", f"{server.url}/openapi.json",
            "--header", f"Authorization: {ADMIN['authorization']}",
            # hooks.py filters by intention: an empty field is no field on the wire.
            "--suppress-health-check", "filter_too_much", *sys.argv[1:],
        ]  # fmt: skip
        paths = os.pathsep.join([str(ROOT), str(HERE)])
        hooked = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": paths}
        known = {"KNOWN_IDS": json.dumps(known_ids(server.url))}
        return subprocess.run(command, env=os.environ | hooked | known).returncode


def known_ids(url: str) -> dict[str, str]:
    """A job, a file and a batch that there are, by the path that each stands under."""

    def post(path: str, **how: Any) -> str:
        answer = httpx.post(url + path, headers=ADMIN, timeout=60, **how)
        return str(answer.raise_for_status().json()["id"])

    clip = ("clip.ogg", next((DEMO / "recordings" / "test").glob("*.ogg")).read_bytes())
    job = post(SPEECH, files={"file": clip}, data={"background": "true"})
    lines = json.dumps({"custom_id": "a", "url": SPEECH, "body": {"file_id": "none"}}).encode()
    file = post(FILES, files={"file": ("in.jsonl", lines)}, data={"purpose": "batch"})
    batch = post(BATCHES, json={"input_file_id": file, "endpoint": SPEECH})
    return {SPEECH: job, FILES: file, BATCHES: batch}


if __name__ == "__main__":
    raise SystemExit(main())
