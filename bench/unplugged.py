"""A server where there is no network, asked once; and again with HF_HUB_OFFLINE=1.

In a network namespace that has nothing but its loopback. HUB
is the hub's cache, CACHE the service's. Prints how many requests were sent and why each was lost.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.clients import Clients, Tally, recordings
from bench.options import parser
from bench.sabotage import MODEL
from harness.server import DEMO, Server

SETTINGS: dict[str, Any] = {
    "model": MODEL,
    "calibration": DEMO / "recordings" / "calibration",
    "calibration_samples": 32,
    "log_level": "warning",
}


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.unplugged", __doc__)
    wanted.add_argument("hub")
    wanted.add_argument("cache")
    asked = wanted.parse_args(argv)
    (recording,) = recordings(DEMO / "recordings" / "test", 10, 1)
    total = Tally()
    for offline in ("0", "1"):
        prefix = ("env", f"HF_HUB_CACHE={asked.hub}", f"HF_HUB_OFFLINE={offline}")
        with Server(prefix=prefix, cache_dir=Path(asked.cache), **SETTINGS) as server:
            tally = Clients(server.port, ["any"]).once(recording)
            total.sent, total.ok = total.sent + 1, total.ok + tally.ok
            total.lost += tally.lost + list(tally.codes)
    print(json.dumps([total.sent, total.ok, total.lost]))


if __name__ == "__main__":
    main()
