"""What the quantizer's process says of itself, in the parent's own reading."""

import errno
import io
import json
import logging
import os

import pytest
import torch

from app.errors import NoCalibration
from app.quantizer.child_protocol import Reporter, peaks, run


def told(monkeypatch, work):
    """The exit status and the events."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"wanted": 2}'))
    read, write = os.pipe()
    with os.fdopen(read) as stream:
        status = run(write, work)
        return status, [json.loads(line) for line in stream]


def test_progress_and_figures_are_told(monkeypatch):
    def work(job, report):
        wanted = json.loads(job)["wanted"]
        for done in range(wanted + 1):
            report.progress(done, wanted, loss=0.5)
        return {"made": wanted}

    status, events = told(monkeypatch, work)
    assert status == 0
    assert [event.pop("eta_seconds") is None for event in events[:-1]] == [True, False, False]
    assert events[1] == {"event": "progress", "done": 1, "total": 2, "loss": 0.5}
    assert events[-1] == {"event": "done", "figures": {"made": 2}}


def test_what_our_own_code_warns_of_is_told(monkeypatch):
    def work(job, report):
        logging.getLogger("app.recordings.hub").warning("%d left out", 3)
        logging.getLogger("library").warning("chatter")
        return {}

    _, events = told(monkeypatch, work)
    assert events[0] == {"event": "warning", "message": "3 left out"}
    assert len(events) == 2


def test_the_time_left_is_that_of_what_is_left(monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    report = Reporter(stream)
    report.progress(0, 6)
    report.progress(2, 6)
    assert json.loads(stream.getvalue().splitlines()[1])["eta_seconds"] == pytest.approx(20)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCalibration("There is no such folder.", "Make one."), "no_calibration"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("SafetensorError: No space left on device (os error 28)"), "disk_full"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
    ],
)
def test_an_error_is_told_by_what_can_be_done_about_it(monkeypatch, error, kind):
    def work(job, report):
        raise error

    status, [event] = told(monkeypatch, work)
    assert (status, event["event"], event["kind"]) == (1, "error", kind)
    assert event["advice"] == getattr(error, "advice", "")


def test_what_nobody_foresaw_leaves_its_traceback_too(monkeypatch):
    def work(job, report):
        raise KeyError("fc1")

    with pytest.raises(KeyError):
        told(monkeypatch, work)


@pytest.mark.parametrize(("card", "device"), [(False, None), (True, 4_500_000_000)])
def test_the_peak_of_a_card_is_told_where_there_is_one(monkeypatch, card, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 4_500_000_000)
    found = peaks()
    assert found["peak_device_bytes"] == device
    assert 1e6 < found["peak_rss_bytes"] < 1e12
