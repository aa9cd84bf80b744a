"""What an operator sets is what the service does, and the reference says the same."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, unknown_variables

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"


_DEFAULTS = Settings().model_dump()


def test_aliases_are_a_comma_separated_list(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_MODEL_ALIASES", "whisper-1, mine ,")
    assert Settings().model_aliases == ("whisper-1", "mine")


@pytest.mark.parametrize("aliases", ["own=b", "*=b", "own=b,own=b", "b=b", "a", "own, other=b, *"])
def test_an_alias_may_name_its_model(aliases):
    assert Settings(models="a=x,b=y", model_aliases=aliases).model_aliases


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


def test_the_reference_has_every_setting():
    told = set(re.findall(r"`MARLINSCRIBE_([A-Z_]+)`", REFERENCE.read_text("utf-8")))
    assert {name.upper() for name in Settings.model_fields} <= told


@pytest.mark.parametrize("blank", ["", " ", "\t \n"])
@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_blank_variable_is_one_that_is_not_set(monkeypatch, field, blank):
    monkeypatch.setenv(f"MARLINSCRIBE_{field.upper()}", blank)
    assert Settings().model_dump() == _DEFAULTS


def test_no_overlay_is_asked_for_by_name(monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_QUANTIZER_OVERLAY", "none")
    assert Settings().quantizer_overlay is None


def test_a_misspelt_variable_is_found():
    names = {"MARLINSCRIBE_MODLE": "x", "MARLINSCRIBE_MODEL": "y", "PATH": "z"}
    assert unknown_variables(names) == ["MARLINSCRIBE_MODLE"]


def test_several_models_are_named_and_the_first_is_the_default():
    settings = Settings(models="tiny=openai/whisper-tiny, own=/data/my=model")
    assert settings.served_models == {"tiny": "openai/whisper-tiny", "own": "/data/my=model"}
    assert settings.model == "openai/whisper-tiny"
    assert settings.of_model("own").served_models == {"/data/my=model": "/data/my=model"}


def test_one_model_is_called_by_its_id_or_its_folders_name():
    assert list(Settings(model="openai/whisper-tiny").served_models) == ["openai/whisper-tiny"]
    assert list(Settings(model="demo").served_models) == ["marine-radio"]
    assert list(Settings(model="/data/large-v2.pt").served_models) == ["large-v2"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"models": "a=x,a=y"}, "Two models are named 'a'"),
        ({"models": "openai/whisper-tiny"}, "not name=source"),
        ({"models": "=x"}, "not name=source"),
        ({"models": "a=x", "model": "y"}, "leave one of them out"),
        ({"models": "a=x,b=y", "model_aliases": "b,c"}, "the name of a model and"),
        ({"models": "a=x,b=y", "model_aliases": "b=a"}, "the name of a model and"),
        ({"models": "a=x,b=y", "model_aliases": "c,c=b"}, "the name of a model and"),
        ({"models": "a=x,b=y", "model_aliases": "c=z"}, "'c=z', which names no model: 'a' or 'b'"),
        ({"model": "x", "model_aliases": "=x"}, "names no model"),
    ],
)
def test_names_that_two_models_claim_and_models_without_one_are_told(given, told):
    with pytest.raises(ValidationError, match=told):
        Settings(**given)


def test_a_model_may_take_the_name_of_an_alias_that_nobody_asked_for():
    assert "whisper-1" in Settings(models="a=x,whisper-1=y").served_models
