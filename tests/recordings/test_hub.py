"""Sets of the hub by name: which part is read, which column, and what is left out."""

import logging

import pytest

from app.errors import NoCalibration
from app.recordings import hub as reading
from app.recordings.known_sets import hub_set, is_hub_set
from app.recordings.read import read
from app.recordings.spec import Recordings
from tests.sound import encode, tone

SHORT, LONG = encode(tone(1)), encode(tone(31), rate=8_000)


def row(audio=SHORT, **columns):
    return {"audio": {"bytes": audio, "path": None}} | columns


def texts(source):
    return [(clip.text, clip.language) for clip in read(Recordings(sources=source))]


@pytest.mark.parametrize(
    ("source", "learned", "judged", "language"),
    [
        ("librispeech", "clean:train.100", "clean:test", "en"),
        ("librispeech:other", "other:train.500", "other:test", "en"),
        ("librispeech:clean:validation", "clean:validation", "clean:validation", "en"),
        ("fleurs:en_us", "en_us:train", "en_us:test", "en"),
        ("fleurs:cmn_hans_cn", "cmn_hans_cn:train", "cmn_hans_cn:test", "zh"),
        ("fleurs:yue_hant_hk:validation", *["yue_hant_hk:validation"] * 2, "yue"),
        ("fleurs:es_419", "es_419:train", "es_419:test", "es"),
        ("some/set:clean", "clean:train", "clean:test", ""),
    ],
)
def test_a_short_names_test_split_is_never_learned_from(source, learned, judged, language):
    def part(judging):
        one = hub_set(source, judging=judging)
        assert one.language == language
        return f"{one.config}:{one.split}"

    assert is_hub_set(source)
    assert (part(False), part(True)) == (learned, judged)


@pytest.mark.parametrize("source", ["fleurs", "fleurs:", "fleurs:ckb_iq", "fleurs:en_us:test:x"])
def test_a_part_that_is_none_says_how_parts_are_named(source):
    with pytest.raises(NoCalibration, match="named like librispeech:other or fleurs:en_us"):
        hub_set(source)


@pytest.mark.parametrize("source", ["librispeech2", "fleur:en_us", "./fleurs", "set", "json:a"])
def test_other_names_without_an_owner_are_no_sets(source):
    assert not is_hub_set(source)


FLEURS = {"raw_transcription": "Mayday (twice), he said.", "transcription": "mayday twice he said"}


def test_fleurs_is_learned_from_as_written_and_measured_by_as_spoken(hub):
    fake = hub(row(language="Mandarin Chinese", **FLEURS))
    assert texts("fleurs:cmn_hans_cn") == [(FLEURS["raw_transcription"], "zh")]
    judged = reading.clips(hub_set("fleurs:cmn_hans_cn", judging=True), "en")
    assert [clip.text for clip in judged] == [FLEURS["transcription"]]
    assert fake.asked == [("hf://datasets/google/fleurs", "cmn_hans_cn")] * 2


def test_words_in_capitals_alone_are_learned_as_a_model_writes(hub):
    hub(row(text="MISTER QUILTER"))
    assert texts("librispeech") == [("mister quilter", "en")]


@pytest.mark.parametrize("column", ["text", "sentence", "transcript", "transcription"])
def test_any_other_sets_words_are_looked_for(hub, column):
    hub(row(**{column: "Mayday.", "language": "de"}))
    assert texts("some/set:clean:train") == [("Mayday.", "de")]


def test_a_set_without_words_names_its_columns(hub):
    hub(row(speaker=1))
    with pytest.raises(NoCalibration, match=r"no column text.* its columns are audio, speaker"):
        texts("some/set:clean:train")


def written_to_a_pipe(flac):
    """The same, without the number of samples in its header."""
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


FLAC = encode(tone(31), "flac", "flac")


@pytest.mark.parametrize("long", [LONG, FLAC, written_to_a_pipe(FLAC)])
def test_recordings_over_30_s_are_left_out_and_counted(hub, caplog, long):
    hub(row(long, text="one"), row(text="two"), row(long, text="three"), row(text=" "))
    with caplog.at_level(logging.WARNING):
        assert texts("librispeech") == [("two", "en")]
    assert "librispeech: 2 recordings of over 30 s are left out" in caplog.text


def test_nothing_is_left_out_where_any_length_will_do(hub):
    hub(row(LONG, text="one"), row(text="two"))
    assert len(list(reading.clips(hub_set("librispeech"), "en", longest=None))) == 2


def test_a_hub_that_does_not_answer_is_named_with_what_to_do(hub, monkeypatch):
    def unreachable(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub(), "load_dataset_builder", unreachable)
    with pytest.raises(
        NoCalibration, match=r"fleurs:en_us .*\(google/fleurs\): no route"
    ) as caught:
        texts("fleurs:en_us")
    assert "HF_ENDPOINT" in caught.value.advice


def test_a_set_of_a_script_is_read_as_the_hub_converted_it(hub, monkeypatch):
    fake, asked = hub(row(**FLEURS)), []
    whole = fake.load_dataset_builder

    def scripted(path, config=None, **more):
        if not more:
            raise RuntimeError("Dataset scripts are no longer supported, but found fleurs.py")
        asked.append(more)
        return whole(path, config)

    monkeypatch.setattr(fake, "load_dataset_builder", scripted)
    assert len(texts("fleurs:en_us")) == 1
    files = {"converted": "en_us/*train/*.parquet"}
    assert asked == [{"data_files": files, "revision": "refs/convert/parquet"}]
