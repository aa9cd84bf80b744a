"""schemathesis against a real server and its own /openapi.json.

    python -m tests.contract.schema [schemathesis run's options]

What is generated and what may be answered is set up in schemathesis.toml and hooks.py beside
this file.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.server import Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The admin's opens every route.
KEYS: dict[str, Any] = {"api_keys": "a-client", "admin_key": "an-admin"}


def main() -> int:
    with tempfile.TemporaryDirectory() as cache, Server(cache_dir=cache, **KEYS) as server:
        command = [
            str(ROOT / ".contract/venv/bin/schemathesis"),
            "--config-file", str(HERE / "schemathesis.toml"),
            "run", f"{server.url}/openapi.json",
            "--header", f"Authorization: Bearer {KEYS['admin_key']}",
            # hooks.py filters by intention: an empty field is no field on the wire.
            "--suppress-health-check", "filter_too_much", *sys.argv[1:],
        ]  # fmt: skip
        paths = os.pathsep.join([str(ROOT), str(HERE)])
        return subprocess.run(
            command, env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": paths}
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
