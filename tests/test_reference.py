"""The reference page says what the code says."""

import re
import subprocess
import sys

import pytest

from app import errors
from app.settings import Settings
from tools import reference

TREE = {*reference._tree(errors.MarlinscribeError)} - {errors.MarlinscribeError}


def test_the_committed_reference_is_what_the_code_says():
    assert reference.FILE.read_text("utf-8") == reference.written(), "run: make reference"


def test_the_reference_is_the_same_in_another_environment(tmp_path):
    """Neither the settings that are set nor a terminal's width are on the page."""
    script = "from tools import reference; print(reference.written(), end='')"
    environment = {"MARLINSCRIBE_PORT": "1", "COLUMNS": "40", "HOME": str(tmp_path)}
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=reference.FILE.parent.parent, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    assert printed.stdout.decode() == reference.written()


def test_every_setting_has_a_description():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_drawn_tree_names_every_error_and_its_status():
    drawn = dict(re.findall(r"─ (\w+) +(\d{3})?", errors.__doc__))
    assert {kind.__name__ for kind in TREE} == drawn.keys()
    assert {kind for kind in TREE if drawn[kind.__name__] not in ("", str(kind.status))} == set()


def test_an_error_without_a_docstring_has_its_line_in_the_tree_as_its_meaning():
    assert reference._drawn("QueueFull") == "As much audio waits as may"
    assert reference._drawn("UnknownJob") == "No such job"


def test_an_error_without_a_meaning_cannot_be_described():
    class Undescribed(errors.RequestError):
        pass

    with pytest.raises(ValueError, match="has no docstring"):
        reference._meaning(Undescribed)
