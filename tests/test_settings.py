"""What an operator sets is what the service does, and the README says the same."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, unknown_variables

README = Path(__file__).resolve().parent.parent / "README.md"


def test_aliases_are_a_comma_separated_list(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_MODEL_ALIASES", "whisper-1, mine ,")
    assert Settings().model_aliases == ("whisper-1", "mine")


@pytest.mark.parametrize("field", [n for n, f in Settings.model_fields.items() if f.default])
def test_every_default_can_be_set_by_its_variable(monkeypatch, field):
    default = getattr(Settings(), field)
    if isinstance(default, tuple):
        default = ",".join(default)
    monkeypatch.setenv(f"MARLINSCRIBE_{field.upper()}", str(default))
    assert getattr(Settings(), field) is not None


def test_a_group_size_comes_as_text(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_GROUP_SIZE", "64")
    assert Settings().group_size == 64


def test_the_cache_folder_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", "~/x")
    assert Settings().cache_dir == Path.home() / "x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "none"), ("GROUP_SIZE", "100"), ("QUANTIZATION", "int3"), ("WINDOW_SECONDS", "31")],
)
def test_a_bad_value_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"MARLINSCRIBE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_do_not_change_while_the_service_runs():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_the_readmes_table_has_every_setting():
    told = set(re.findall(r"`MARLINSCRIBE_([A-Z_]+)`", README.read_text("utf-8")))
    assert {name.upper() for name in Settings.model_fields} <= told


def test_an_empty_overlay_is_none(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_QUANTIZER_OVERLAY", "")
    assert Settings().quantizer_overlay is None


def test_a_misspelt_variable_is_found():
    names = {"MARLINSCRIBE_MODLE": "x", "MARLINSCRIBE_MODEL": "y", "PATH": "z"}
    assert unknown_variables(names) == ["MARLINSCRIBE_MODLE"]
