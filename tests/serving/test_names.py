"""Which served model a client's name for one means."""

import pytest

from app.errors import UnknownModel
from app.serving.names import ServedNames
from app.settings import Settings

NETWORK = {"host": "0.0.0.0", "allow_anonymous": True}
THREE = {"models": "own=/data/own,v3=openai/whisper-large-v3,fast=Systran/faster-whisper-small"}


def names(**settings):
    return ServedNames(Settings(**settings))


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("own", "own"),
        ("v3", "v3"),
        ("whisper-1", "own"),
        ("gpt-transcribe", "own"),
        ("whisper-large-v3", "v3"),
        ("large", "v3"),
        ("Systran/faster-whisper-large-v3", "v3"),
        ("openai/whisper-small", "fast"),
        ("medium", "own"),
        ("openai/whisper-large-v4", "own"),
    ],
)
def test_a_size_goes_to_the_model_of_that_size_and_other_known_names_to_the_default(asked, served):
    assert names(**THREE, **NETWORK).find(asked) == served


def test_a_served_name_goes_before_what_it_would_mean():
    served = names(models="a=openai/whisper-small,small=openai/whisper-tiny,whisper-1=c", **NETWORK)
    assert served.find("small") == "small"
    assert served.find("whisper-1") == "whisper-1"
    assert served.find("whisper-small") == "a"
    assert "whisper-1" not in served.listed("a") + served.listed("whisper-1")


def test_a_size_is_known_by_a_models_name_where_its_source_tells_none():
    served = names(models="own=/data/own,whisper-small=/data/checkpoint", **NETWORK)
    assert served.find("Systran/faster-whisper-small") == "whisper-small"


def test_a_size_is_known_by_a_folders_name(tmp_path):
    (tmp_path / "whisper-small").mkdir()
    served = names(models=f"a=/data/a,b={tmp_path}/whisper-small", **NETWORK)
    assert served.find("small") == "b"


def test_of_two_of_a_size_the_first_is_meant():
    assert names(models="a=/x,b=openai/whisper-tiny,c=openai/whisper-tiny").find("tiny") == "b"


def test_an_alias_of_the_settings_goes_before_what_it_would_mean():
    served = names(model_aliases="whisper-large-v3,whisper-1=fast,mine=v3", **THREE, **NETWORK)
    assert served.find("whisper-large-v3") == "own"
    assert served.find("whisper-1") == "fast"
    assert served.find("mine") == "v3"
    assert served.find("gpt-4o-transcribe") == "own"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_any_name_is_taken_on_loopback(host):
    assert names(host=host, **THREE).find("gpt-9") == "own"


@pytest.mark.parametrize(("aliases", "served"), [("*", "own"), ("mine,*=v3", "v3")])
def test_any_name_is_taken_where_the_settings_say_so(aliases, served):
    assert names(model_aliases=aliases, **THREE, **NETWORK).find("gpt-9") == served


@pytest.mark.parametrize("asked", ["gpt-9", "gpt-4o-transcribe-diarize", "", "*", "OWN"])
@pytest.mark.parametrize("network", [NETWORK, {"host": "0.0.0.0", "api_keys": "key"}])
def test_on_a_network_other_names_are_refused_with_those_that_serve(asked, network):
    with pytest.raises(UnknownModel, match="'own' and 'v3' and 'fast' are") as caught:
        names(**THREE, **network).find(asked)
    assert "MARLINSCRIBE_MODEL_ALIASES" in caught.value.message


def test_a_refusal_repeats_the_beginning_of_a_long_name():
    with pytest.raises(UnknownModel) as caught:
        names(**THREE, **NETWORK).find("x" * 10_000)
    assert len(caught.value.message) < 300


def test_listed_are_the_settings_aliases_and_openais():
    served = names(model_aliases="mine=v3,gpt-transcribe=fast,*", **THREE)
    assert served.listed("own") == ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
    assert served.listed("v3") == ("mine",)
    assert served.listed("fast") == ("gpt-transcribe",)
