"""What was promoted is known to the next process, for as long as the settings stay the same."""

import json

import pytest

import app.quantization.promotion_log
from app.quantization.promotion_log import Promotion, PromotionLog
from app.settings import Settings

A, B, C = (Promotion(name * 16, f"qjob_{name}", 1, {"passed": True}) for name in "abc")


@pytest.fixture
def open_again(tmp_path):
    """The promotion log as the next process would have them."""
    return lambda **settings: PromotionLog(Settings(**{"cache_dir": tmp_path} | settings))


def test_nothing_is_promoted_at_first(open_again, tmp_path):
    promotions = open_again()
    assert (promotions.current, promotions.before) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_promoting_pushes_and_rolling_back_pops(open_again):
    promotions = open_again()
    for promotion in (A, B, C):
        promotions.push(promotion)
    steps = []
    while promotions.current:
        steps.append((promotions.current, promotions.before))
        promotions.pop()
    assert steps == [(C, B), (B, A), (A, None)]
    assert promotions.before is None


def test_the_next_process_finds_them(open_again):
    promotions = open_again()
    promotions.push(A)
    promotions.push(B)
    assert (open_again().current, open_again().before) == (B, A)
    promotions.pop()
    assert open_again().current == A
    promotions.pop()
    assert open_again().current is None


@pytest.mark.parametrize("disk", ["sound", "full"])
def test_what_is_gone_is_forgotten_wherever_it_stands(open_again, monkeypatch, disk):
    promotions = open_again()
    for promotion in (A, B, C):
        promotions.push(promotion)

    def no_space(path, value):
        raise OSError(28, "No space left on device")

    if disk == "full":
        monkeypatch.setattr(app.quantization.promotion_log, "write_json", no_space)
    promotions.forget(B)
    assert (promotions.current, promotions.before) == (C, A)
    assert open_again().before == (A if disk == "sound" else B)


@pytest.mark.parametrize(
    "changed",
    [{"model": "/elsewhere"}, {"quantization": "rtn"}, {"group_size": 64},
     {"calibration": "/mine"}, {"calibration_samples": 9}, {"calibration_language": "zh"}],
)  # fmt: skip
def test_they_are_forgotten_where_the_settings_ask_for_another_checkpoint(
    open_again, caplog, changed
):
    open_again().push(A)
    assert open_again(**changed).current is None
    assert "another checkpoint" in caplog.text


@pytest.mark.parametrize(
    "same", [{"port": 1}, {"max_jobs": 1}, {"drain_seconds": 0}, {"while_quantizing": "serve"}]
)
def test_they_are_kept_where_other_settings_change(open_again, same):
    open_again().push(A)
    assert open_again(**same).current == A


def test_what_is_promoted_after_a_change_begins_anew(open_again):
    open_again().push(A)
    changed = open_again(model="/elsewhere")
    changed.push(B)
    assert (changed.current, changed.before) == (B, None)
    assert open_again(model="/elsewhere").current == B
    assert open_again().current is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b"{}", b'{"stack": 3}', b'{"stack": null}', b'{"stack": [3]}',
     b'{"stack": [{}]}', b"\xff\xfe", b'{"stack": [{"fingerprint": "a", "job": "b", "more": 1}]}'],
)  # fmt: skip
def test_a_damaged_record_counts_as_none_and_is_told(open_again, tmp_path, caplog, damage):
    open_again().push(A)
    (tmp_path / "serving.json").write_bytes(damage)
    promotions = open_again()
    assert promotions.current is None
    assert "cannot be read" in caplog.text
    promotions.push(B)
    assert open_again().current == B


def test_of_very_many_the_oldest_are_forgotten(open_again, tmp_path):
    promotions = open_again()
    for number in range(20):
        promotions.push(Promotion(f"{number:016}", f"qjob_{number}", number))
    stack = json.loads((tmp_path / "serving.json").read_text())["stack"]
    assert [one["since"] for one in stack] == list(range(12, 20))
    assert promotions.current.since == 19


def test_what_cannot_be_written_is_not_promoted(open_again, monkeypatch):
    promotions = open_again()
    promotions.push(A)

    def no_space(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app.quantization.promotion_log, "write_json", no_space)
    with pytest.raises(OSError, match="No space"):
        promotions.push(B)
    with pytest.raises(OSError, match="No space"):
        promotions.pop()
    assert promotions.current == A
