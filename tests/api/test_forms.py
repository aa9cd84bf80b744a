"""Every field, every spelling, every bad value."""

import pytest

from app.api.forms import TranscriptionForm, TranslationForm
from app.api.parsing import parse
from app.errors import BadField


def fields(*items, form=TranscriptionForm):
    return parse(form, items)


def test_nothing_is_needed():
    form = fields()
    assert (form.model, form.language, form.response_format, form.stream) == (
        None, None, "json", False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["include", "include[]", "include[0]"])
def test_lists_come_in_every_spelling(name):
    assert fields((name, "logprobs")).include == ("logprobs",)


def test_lists_may_mix_spellings_and_keep_their_order():
    form = fields(("keywords[]", "Heron"), ("keywords", "Owl"), ("keywords[2]", "Fox"))
    assert form.keywords == ("Heron", "Owl", "Fox")


@pytest.mark.parametrize(
    ("sent", "stream"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("0", False), ("", False)],
)
def test_booleans_are_words(sent, stream):
    assert fields(("stream", sent)).stream is stream


def test_empty_and_unknown_fields_are_passed_over():
    form = fields(
        ("language", ""), ("prompt", ""), ("temperature", ""), ("seed", "7"),
        ("known_speaker_names[]", "x"), ("[", "x"), ("a[b][c]", "x"),
    )  # fmt: skip
    assert form == fields()


def test_of_a_field_sent_twice_the_last_counts():
    assert fields(("temperature", "0.1"), ("temperature", "0.2")).temperature == 0.2


def test_automatic_chunking_changes_nothing_of_the_services():
    assert fields(("chunking_strategy", "auto")).chunking_strategy.own == {}


@pytest.mark.parametrize(
    "sent",
    [
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.3")],
        [("chunking_strategy", '{"type": "server_vad", "threshold": 0.3}')],
        [("chunking_strategy", '{"type": "server_vad", "threshold": 0.3, "new": 1}')],
    ],
)
def test_what_counts_as_speech_is_told_in_brackets_or_as_json(sent):
    assert fields(*sent).chunking_strategy.own == {"threshold": 0.3}


VAD = "chunking_strategy"


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ([(VAD, '{"type":"server_vad","threshold":0}')], "[threshold]"),
        ([(VAD, '{"type":"server_vad","threshold":1}')], "[threshold]"),
        ([(VAD, '{"type":"server_vad","threshold":NaN}')], "[threshold]"),
        ([(VAD, '{"type":"server_vad","threshold":{"is":[0.5]}}')], "[threshold]"),
        ([(f"{VAD}[type]", "server_vad"), (f"{VAD}[threshold]", "loud")], "[threshold]"),
        ([(VAD, '{"type":"server_vad","prefix_padding_ms":-1}')], "[prefix_padding_ms]"),
        ([(VAD, '{"type":"server_vad","silence_duration_ms":0.5}')], "[silence_duration_ms]"),
        ([(VAD, '{"type":"semantic_vad"}')], "[type]"),
        ([(VAD, '{"type":["auto"]}')], "[type]"),
        ([(VAD, "{}")], "[type]"),
        ([(f"{VAD}[threshold]", "0.5")], "[type]"),
    ],
)
def test_a_bad_value_within_an_object_names_its_place(sent, place):
    with pytest.raises(BadField) as caught:
        fields(*sent)
    assert caught.value.param == VAD
    assert f"'{VAD}{place}'" in caught.value.message


@pytest.mark.parametrize(
    "sent",
    ["manual", "server_vad", "null", "5", "[]", '["server_vad"]', '"auto"', '{"type":"server_vad"',
     '{"type":"server_vad"}}', "[object Object]", '{"type":"auto","a":' + "[" * 50_000,
     '{"a":' * 50_000, '{"type":"server_vad","prefix_padding_ms":' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_is_no_object_is_refused_as_such(sent):
    with pytest.raises(BadField, match="neither 'auto' nor an object in JSON") as caught:
        fields((VAD, sent))
    assert caught.value.param == VAD


@pytest.mark.parametrize(
    "sent",
    [
        [(VAD, '{"type":"auto","threshold":0.3}')],
        [(f"{VAD}[type]", "auto"), (f"{VAD}[threshold]", "0.3")],
    ],
)
def test_what_is_automatic_has_no_knobs(sent):
    with pytest.raises(BadField, match="type auto takes no threshold") as caught:
        fields(*sent)
    assert caught.value.param == VAD


@pytest.mark.parametrize("whole", ["auto", '{"type":"server_vad","threshold":0.9}'])
@pytest.mark.parametrize("step", [1, -1])
def test_an_object_is_sent_whole_or_in_parts(whole, step):
    both = [(VAD, whole), (f"{VAD}[type]", "server_vad"), (f"{VAD}[threshold]", "0.3")]
    with pytest.raises(BadField, match="whole and in parts") as caught:
        fields(*both[::step])
    assert caught.value.param == VAD
    assert fields(("unknown", "1"), ("unknown[x]", "2")) == fields()


GRANULARITIES = "timestamp_granularities"


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "vtt", "verbose_json"])
@pytest.mark.parametrize("form", [TranscriptionForm, TranslationForm])
def test_segment_times_may_be_asked_for_in_every_format(wanted, form):
    asked = fields((f"{GRANULARITIES}[]", "segment"), ("response_format", wanted), form=form)
    assert asked.timestamp_granularities == ("segment",)


@pytest.mark.parametrize("name", [GRANULARITIES, f"{GRANULARITIES}[]", f"{GRANULARITIES}[0]"])
@pytest.mark.parametrize("wanted", ["verbose_json", "srt", "vtt"])
def test_word_times_may_be_asked_for_where_they_can_be_told(name, wanted):
    form = fields((name, "word"), ("response_format", wanted))
    assert form.timestamp_granularities == ("word",)


def test_both_granularities_may_be_asked_for_and_streamed():
    form = fields(
        (f"{GRANULARITIES}[]", "segment"), (f"{GRANULARITIES}[]", "word"),
        ("response_format", "verbose_json"), ("stream", "true"),
    )  # fmt: skip
    assert form.timestamp_granularities == ("segment", "word")


@pytest.mark.parametrize("more", [[], [("response_format", "text")], [("stream", "true")]])
def test_word_times_without_verbose_json_are_refused_with_what_to_ask_for(more):
    with pytest.raises(BadField, match="needs response_format verbose_json") as caught:
        fields((GRANULARITIES, "word"), *more)
    assert caught.value.param == GRANULARITIES


BAD = {
    "format": ([("response_format", "xml")], "response_format"),
    "diarized": ([("response_format", "diarized_json")], "response_format"),
    "temperature above one": ([("temperature", "1.1")], "temperature"),
    "temperature below zero": ([("temperature", "-0.1")], "temperature"),
    "temperature no number": ([("temperature", "nan")], "temperature"),
    "temperature a word": ([("temperature", "warm")], "temperature"),
    "stream": ([("stream", "maybe")], "stream"),
    "words in json": ([(f"{GRANULARITIES}[]", "word")], GRANULARITIES),
    "both granularities in json": (
        [(GRANULARITIES, "segment"), (GRANULARITIES, "word")],
        GRANULARITIES,
    ),
    "no granularity": (
        [(f"{GRANULARITIES}[]", "page"), ("response_format", "verbose_json")],
        GRANULARITIES,
    ),
    "streamed subtitles by words": (
        [("stream", "true"), ("response_format", "srt"), (GRANULARITIES, "word")],
        "stream",
    ),
    "include": ([("include[]", "everything")], "include"),
    "logprobs in subtitles": ([("include", "logprobs"), ("response_format", "srt")], "include"),
    "threshold above one": (
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "1.5")],
        "chunking_strategy",
    ),
    "a pause before zero": (
        [("chunking_strategy", '{"type":"server_vad","silence_duration_ms":-1}')],
        "chunking_strategy",
    ),
    "strategy cut short": ([("chunking_strategy", '{"type":"server_vad"')], "chunking_strategy"),
    "another detector": ([("chunking_strategy", '{"type":"semantic_vad"}')], "chunking_strategy"),
    "no strategy": ([("chunking_strategy", "manual")], "chunking_strategy"),
    "strategy half": ([("chunking_strategy[threshold]", "0.5")], "chunking_strategy"),
    "streamed subtitles": ([("stream", "true"), ("response_format", "vtt")], "stream"),
    "count without width": ([("max_line_count", "2")], "max_line_count"),
    "no width": ([("max_line_width", "0")], "max_line_width"),
    "language and languages": ([("language", "en"), ("languages[]", "zh")], "languages"),
    "endless prompt": ([("prompt", "x" * 20_001)], "prompt"),
    "endless keywords": ([("keywords[]", "x" * 15_000)] * 2, "keywords"),
    "a nested scalar": ([("temperature[x]", "0")], "temperature"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_names_its_field(name):
    items, param = BAD[name]
    with pytest.raises(BadField) as caught:
        fields(*items)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")
    assert param in caught.value.message
    assert "pydantic" not in caught.value.message


def test_words_of_a_translation_are_refused_because_they_have_no_times():
    asked = [(f"{GRANULARITIES}[]", "word"), ("response_format", "verbose_json")]
    with pytest.raises(BadField, match="words of a translation have no times") as caught:
        fields(*asked, form=TranslationForm)
    assert caught.value.param == GRANULARITIES


def test_a_translation_takes_no_language():
    form = fields(("language", "nonsense"), ("prompt", "p"), form=TranslationForm)
    assert (form.prompt, hasattr(form, "language")) == ("p", False)
