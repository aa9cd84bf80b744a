"""Times that vary are measured again, and told; what is known of a device is not measured again."""

from threading import Thread

import pytest

from app.errors import EngineFailed
from app.tuning import linear_times
from app.tuning.groups import SCHEMES, Group
from app.tuning.linear_times import (
    MOST_SPREAD,
    ROWS,
    LayerTimer,
    LinearTimes,
    costs_key,
    merged,
    timed,
)

STEADY = [1.0, 1.01, 0.99, 1.0, 1.02]
SHAKY = [1.0, 2.0, 0.5, 1.0, 3.0]
GROUPS = [Group("encoder.layers.0.fc1", 64, 128, once=True)]
FACTS = {"dtype": "bfloat16", "name": "a processor"}


def row(seconds, scheme="W8A8", rows=1):
    return {"inputs": 64, "outputs": 128, "scheme": scheme, "rows": rows, "seconds": seconds,
            "kernel": "Kernel"}  # fmt: skip


@pytest.fixture
def device(monkeypatch):
    """Timings that are told are taken one after the other; those asked for are returned."""
    asked, answers = [], []

    def run(self, shapes, dtype, on_progress):
        asked.append(list(shapes))
        return [row(answers.pop(0), scheme, rows) for scheme in SCHEMES for rows in ROWS]

    monkeypatch.setattr(LayerTimer, "_run", run)
    return asked, answers


def measured():
    return LinearTimes(map(timed, LayerTimer("cpu").rows(GROUPS, "bfloat16")))


def test_what_does_not_vary_is_measured_once(device):
    asked, answers = device
    answers += [STEADY] * len(SCHEMES) * len(ROWS)
    found = measured()
    assert asked == [[(64, 128)]]
    assert found.unsteady == []
    assert found.seconds(GROUPS[0], "W8A8", 16) == 1.0


def test_what_the_encoder_attends_to_is_timed_by_its_width():
    qkv = Group("encoder.layers.0.self_attn.qkv", 64, 192, once=True)
    assert linear_times.shapes([qkv, qkv, *GROUPS]) == [(64, 0), (64, 128), (64, 192)]


def test_another_device_or_other_shapes_are_kept_apart():
    other = Group("encoder.layers.0.fc1", 64, 256, once=True)
    keys = {
        costs_key(GROUPS, FACTS),
        costs_key(GROUPS, FACTS | {"name": "another"}),
        costs_key([other], FACTS),
    }
    assert len(keys) == 3
    assert costs_key(GROUPS * 2, FACTS) in keys


def test_what_varies_by_more_than_a_fifth_is_measured_again(device):
    asked, answers = device
    count = len(SCHEMES) * len(ROWS)
    answers += [SHAKY, *[STEADY] * (count - 1), *[STEADY] * count]
    assert measured().unsteady == []
    assert len(asked) == 2


def test_what_still_varies_is_told(device):
    _, answers = device
    count = len(SCHEMES) * len(ROWS)
    answers += [SHAKY, *[STEADY] * (count - 1)] * 2
    (one,) = measured().unsteady
    assert (one.scheme, one.rows) == (SCHEMES[0], ROWS[0])
    assert one.spread > MOST_SPREAD


@pytest.fixture
def process(monkeypatch, tmp_path):
    """A process in place of the one that times, of this text."""

    def of(text):
        (tmp_path / "timing.py").write_text(text)
        monkeypatch.setattr(linear_times, "_PROCESS", [str(tmp_path / "timing.py")])

    return of


def test_progress_is_told_as_the_rows_come(process):
    count = len(SCHEMES) * len(ROWS)
    rows = [row(STEADY, scheme, rows) for scheme in SCHEMES for rows in ROWS]
    ends_late = "import sys, time\nsys.stdout.close()\ntime.sleep(0.2)"
    process(f"import json\nfor row in {rows!r}:\n    print(json.dumps(row))\n{ends_late}")
    told = []
    found = LayerTimer("cpu").rows(GROUPS, "bfloat16", lambda *one: told.append(one))
    assert found == rows
    assert told == [(number, count) for number in range(1, count + 1)]


def test_why_layers_could_not_be_timed_is_told(process):
    process("raise SystemExit('no such kernel')")
    with pytest.raises(EngineFailed, match="no such kernel"):
        LayerTimer("cpu").rows(GROUPS, "bfloat16")


def test_a_process_that_ends_too_soon_is_an_error(process):
    process("")
    with pytest.raises(EngineFailed, match="no word"):
        LayerTimer("cpu").rows(GROUPS, "bfloat16")


def test_timing_is_ended_from_another_thread(process):
    process("import time\nprint('{}', flush=True)\ntime.sleep(600)")
    timer = LayerTimer("cpu")
    with pytest.raises(EngineFailed):
        timer.rows(GROUPS, "bfloat16", lambda *_: Thread(target=timer.stop).start())


def test_one_slow_round_is_no_variation():
    assert timed(row([1.0, 1.0, 1.0, 1.0, 9.0])).spread == 0
    assert timed(row([1.0, 1.0, 1.0, 1.0, 9.0])).seconds == 1.0


def test_of_two_runs_the_steadier_counts():
    found = merged([row(SHAKY), row(STEADY, rows=4)], [row(STEADY), row(SHAKY, rows=4)])
    assert [one["seconds"] for one in found] == [STEADY, STEADY]
