"""The presets and the tables that people read are what the code computes."""

import pytest

from app.settings import Settings, unknown_variables
from bench.sizing import BEGIN, END, PAGE, PRESETS, ROOT, preset, tables


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_command_prints(name):
    """If not: python -m bench.sizing --write"""
    assert (ROOT / "deploy" / f"{name}.env").read_text("utf-8") == preset(name)


def test_every_preset_is_in_the_tables():
    assert {file.stem for file in (ROOT / "deploy").glob("*.env")} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_holds_settings_that_the_service_takes(name):
    rows = (ROOT / "deploy" / f"{name}.env").read_text("utf-8").splitlines()
    found = dict(row.split("=", 1) for row in rows if row and not row.startswith("#"))
    assert unknown_variables(found) == []
    fields = {key.removeprefix("MARLINSCRIBE_").lower(): value for key, value in found.items()}
    settings = Settings.model_validate(fields)
    assert settings.device == PRESETS[name][0]
    assert settings.max_windows


def test_the_page_shows_what_the_code_computes():
    """If not: python -m bench.sizing --write"""
    shown = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    assert shown == f"\n{tables()}\n"
