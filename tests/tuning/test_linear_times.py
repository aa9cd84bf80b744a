"""Times that vary are measured again, and told; what is known of a device is not measured again."""

import pytest

from app.tuning import linear_times
from app.tuning.groups import SCHEMES, Group
from app.tuning.linear_times import MOST_SPREAD, ROWS, measured, merged, timed

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

    def run(shapes, dtype, device):
        asked.append(list(shapes))
        return [row(answers.pop(0), scheme, rows) for scheme in SCHEMES for rows in ROWS]

    monkeypatch.setattr(linear_times, "_run", run)
    return asked, answers


def test_what_does_not_vary_is_measured_once_and_kept(device, tmp_path):
    asked, answers = device
    answers += [STEADY] * len(SCHEMES) * len(ROWS)
    first = measured(GROUPS, FACTS, tmp_path, "cpu")
    assert measured(GROUPS, FACTS, tmp_path, "cpu").all == first.all
    assert asked == [[(64, 128)]]
    assert first.unsteady == []
    assert first.seconds(GROUPS[0], "W8A8", 16) == 1.0


def test_another_device_is_measured_for_itself(device, tmp_path):
    asked, answers = device
    answers += [STEADY] * 2 * len(SCHEMES) * len(ROWS)
    measured(GROUPS, FACTS, tmp_path, "cpu")
    measured(GROUPS, FACTS | {"name": "another"}, tmp_path, "cpu")
    assert len(asked) == 2


def test_what_varies_by_more_than_a_fifth_is_measured_again(device, tmp_path):
    asked, answers = device
    count = len(SCHEMES) * len(ROWS)
    answers += [SHAKY, *[STEADY] * (count - 1), *[STEADY] * count]
    assert measured(GROUPS, FACTS, tmp_path, "cpu").unsteady == []
    assert len(asked) == 2


def test_what_still_varies_is_told(device, tmp_path):
    _, answers = device
    count = len(SCHEMES) * len(ROWS)
    answers += [SHAKY, *[STEADY] * (count - 1)] * 2
    (one,) = measured(GROUPS, FACTS, tmp_path, "cpu").unsteady
    assert (one.scheme, one.rows) == (SCHEMES[0], ROWS[0])
    assert one.spread > MOST_SPREAD


def test_one_slow_round_is_no_variation():
    assert timed(row([1.0, 1.0, 1.0, 1.0, 9.0])).spread == 0
    assert timed(row([1.0, 1.0, 1.0, 1.0, 9.0])).seconds == 1.0


def test_of_two_runs_the_steadier_counts():
    found = merged([row(SHAKY), row(STEADY, rows=4)], [row(STEADY), row(SHAKY, rows=4)])
    assert [one["seconds"] for one in found] == [STEADY, STEADY]
