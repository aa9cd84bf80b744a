"""What would be measured of the demo on a device where eight bits are the fastest."""

import json

from app.checkpoints.device import device_facts
from app.environment import DEMO_MODEL
from app.tuning.cost import EngineTimes
from app.tuning.engine_times import Measured
from app.tuning.findings import Findings
from app.tuning.groups import SCHEMES, groups_of
from app.tuning.linear_times import ROWS, LinearTimes, Timed, shapes

CONFIG = json.loads((DEMO_MODEL / "config.json").read_text("utf-8"))
GROUPS = groups_of(CONFIG)
SECONDS = {"none": 4e-4, "W8A8": 2e-4, "W4A16 g32": 3e-4, "W4A16 g128": 3e-4}
LOSSES = {"W8A8": 1e-4, "W4A16 g32": 1e-3, "W4A16 g128": 2e-3}
STEADY = 0.0


def engine(spread=STEADY):
    return Measured(EngineTimes(0.1, {1: 0.03, 4: 0.03, 16: 0.03}), {1: 1.0}, 50, 10.0, spread)


def findings(spread=STEADY, disturbed=()):
    times = [
        Timed(shape, scheme, rows, SECONDS[scheme], spread, "Kernel")
        for shape in shapes(GROUPS)
        for scheme in SCHEMES
        for rows in ROWS
    ]
    losses = {f"{group.name} {scheme}": loss for group in GROUPS for scheme, loss in LOSSES.items()}
    facts = device_facts("cpu", "bfloat16")
    return Findings(facts, GROUPS, LinearTimes(times), engine(), losses, tuple(disturbed))
