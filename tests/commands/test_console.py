"""What the commands say where nobody watches: in a log's lines."""

import io
import logging

import pytest
from rich.console import Console

from app.commands.console import StageProgress, settings_for


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="app.commands.console")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def progress():
    return StageProgress(Console(file=io.StringIO()))


def test_each_new_detail_of_a_stage_is_a_line(lines, progress):
    progress.show("resolving")
    progress.show("resolving", "openai/whisper-large-v2")
    progress.show("resolving", "downloading openai/whisper-large-v2")
    progress.show("resolving", "downloading openai/whisper-large-v2")
    assert lines() == [
        "resolving ",
        "resolving openai/whisper-large-v2",
        "resolving downloading openai/whisper-large-v2",
    ]


def test_what_is_counted_is_told_by_its_count_however_often_its_detail_changes(lines, progress):
    for layer in range(3):
        progress.show("quantizing", f"layer {layer}", layer, 64)
    assert lines() == [
        "quantizing layer 0",
        "quantizing 1 of 64 layers",
        "quantizing 2 of 64 layers",
    ]


def test_a_bad_settings_name_stands_on_the_line_that_says_what_is_wrong(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_QUANTIZATION", "int4")
    said = io.StringIO()
    assert settings_for(Console(file=said, width=80)) is None
    (line,) = said.getvalue().splitlines()
    assert line.startswith("MARLINSCRIBE_QUANTIZATION: ")
    assert len(line) > 80
