"""Recordings from several sets, in turn or by language."""

import csv
import json
import sys
from collections import Counter

import pytest

from app.errors import NoCalibration
from app.recordings.read import by_turns, digest, read
from app.recordings.spec import Recordings


@pytest.fixture
def make(tmp_path):
    """A manifest whose rows are texts, each with a recording of its own, or with a language too."""

    def make(name, *rows, kind="jsonl"):
        folder = tmp_path / name
        folder.mkdir()
        full = []
        for number, row in enumerate(rows):
            text, language = row if isinstance(row, tuple) else (row, "")
            (folder / f"{number}.wav").write_bytes(f"{name} {number}".encode())
            full.append({"audio": f"{number}.wav", "text": text, "language": language})
        path = folder / f"manifest.{kind}"
        if kind == "csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, ["audio", "text", "language"])
                writer.writeheader()
                writer.writerows(full)
        else:
            path.write_text("\n".join(json.dumps(row) for row in full))
        return str(folder)

    return make


def texts(*sources, **wanted):
    return [clip.text for clip in read(Recordings(sources=sources, **wanted))]


def counted(*sources, **wanted):
    return Counter(clip.language for clip in read(Recordings(sources=sources, **wanted)))


def test_sets_give_in_turn_until_all_are_empty(make):
    sources = make("a", "a1", "a2", "a3"), make("b", "b1"), make("c", "c1", "c2")
    assert texts(*sources) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_no_more_are_taken_than_are_asked_for(make):
    assert texts(make("a", "a1", "a2"), make("b", "b1", "b2"), samples=3) == ["a1", "b1", "a2"]


def test_none_asked_for_is_all_there_are(make):
    assert len(texts(make("a", *map(str, range(300))), samples=None)) == 300


def test_a_set_without_recordings_does_not_end_the_others(make, tmp_path):
    (tmp_path / "empty").mkdir()
    assert texts(str(tmp_path / "empty"), make("a", "a1")) == ["a1"]


def test_a_sets_language_is_of_its_own_recordings_that_name_none(make):
    sources = {"source": make("a", "x", ("y", "de")), "language": "zh"}, make("b", "z")
    assert counted(*sources) == {"zh": 1, "de": 1, "en": 1}


def english_and_chinese(make):
    rows = [(f"{language} {n}", language) for n in range(40) for language in ("en", "zh")]
    return make("both", *rows)


def test_a_mix_takes_each_language_by_its_share_and_leaves_out_the_others(make):
    both, german = english_and_chinese(make), make("de", ("eins", "de"), ("zwei", "de"))
    assert counted(german, both, samples=20, mix={"en": 1, "zh": 3}) == {"en": 5, "zh": 15}


@pytest.mark.parametrize(
    ("samples", "mix", "quotas"),
    [
        (10, {"en": 1, "zh": 2}, {"en": 3, "zh": 7}),  # 3.33 and 6.67
        (11, {"en": 1, "zh": 2}, {"en": 4, "zh": 7}),  # 3.67 and 7.33
        (3, {"en": 0.5, "zh": 0.5}, {"en": 2, "zh": 1}),  # a tie: the one named first
        (1, {"en": 1, "zh": 9}, {"zh": 1}),
        (7, {"zh": 1e-3}, {"zh": 7}),
    ],
)
def test_what_rounding_leaves_over_goes_to_the_largest_remainders(make, samples, mix, quotas):
    assert counted(english_and_chinese(make), samples=samples, mix=mix) == quotas


def test_a_mix_keeps_the_order_of_its_sets(make):
    taken = texts(english_and_chinese(make), samples=4, mix={"zh": 1, "en": 1})
    assert taken == ["en 0", "zh 0", "en 1", "zh 1"]


def test_a_mix_that_cannot_be_had_says_what_lacks(make):
    few = make("few", *[("x", "en")] * 6, ("y", "zh"))
    with pytest.raises(NoCalibration, match="of 4 in zh") as caught:
        texts(few, samples=8, mix={"en": 1, "zh": 1})
    assert "en" not in caught.value.message.split("lacks")[1]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_languages_of_a_mix_and_of_rows_may_be_named_as_people_name_them(make, kind):
    rows = [("a", "zh-TW"), ("b", "Chinese"), ("c", "English"), ("d", "EN"), ("e", "")]
    mix = {"Mandarin": 1, "english": 1}
    assert counted(make("x", *rows, kind=kind), samples=4, mix=mix) == {"zh": 2, "en": 2}


def test_shares_of_one_language_under_two_names_are_added(make):
    mix = {"zh": 1, "zh-TW": 1, "en": 2}
    assert counted(english_and_chinese(make), samples=8, mix=mix) == {"zh": 4, "en": 4}


def test_all_of_a_finite_set_is_looked_at_for_a_mix(make):
    rows = [("x", "en")] * 120 + [("y", "zh")]
    assert counted(make("long", *rows), samples=2, mix={"en": 1, "zh": 1}) == {"en": 1, "zh": 1}


# The digest


def test_the_digest_is_stable(make):
    wanted = Recordings(sources=[make("a", "a1", "a2"), make("b", "b1")])
    assert digest(wanted) == digest(wanted)
    assert len(digest(wanted)) == 64


def test_the_digest_is_of_what_is_taken(make):
    a, b = make("a", ("x", "en"), ("y", "zh")), make("b", ("z", "en"))
    content_hashes = {
        digest(Recordings(sources=sources, **wanted))
        for sources, wanted in [
            ([a], {}), ([a], {"samples": 1}), ([a, b], {}), ([b, a], {}),
            ([a], {"samples": 1, "mix": {"zh": 1}}),
        ]
    }  # fmt: skip
    assert len(content_hashes) == 5
    assert digest(Recordings(sources=[a], samples=256)) == digest(Recordings(sources=[a]))
    one = {"samples": 1, "mix": {"en": 1}}
    assert digest(Recordings(sources=[a], **one)) == digest(Recordings(sources=[a], samples=1))


def test_the_digest_changes_with_a_recordings_bytes(make, tmp_path):
    wanted = Recordings(sources=make("a", "x"))
    before = digest(wanted)
    (tmp_path / "a" / "0.wav").write_bytes(b"other")
    assert digest(wanted) != before


def test_a_hubs_set_is_known_by_its_name_unread():
    one = Recordings(sources="some/dataset:config:split")
    assert digest(one) == digest(Recordings(sources=["some/dataset:config:split"]))
    assert digest(one) != digest(Recordings(sources="some/dataset:config:other"))


def test_the_digest_is_of_local_bytes_also_beside_a_hubs_set(make, tmp_path):
    wanted = Recordings(sources=[make("a", "x"), "some/dataset:config:split"])
    before = digest(wanted)
    (tmp_path / "a" / "0.wav").write_bytes(b"other")
    assert digest(wanted) != before


def test_a_hubs_set_that_cannot_be_read_here_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(NoCalibration):
        texts("some/dataset:config:split")


# Files that are not what they should be


@pytest.mark.parametrize("language", [5, ["zh"], {"a": 1}, True])
def test_a_language_that_is_no_text_is_named(tmp_path, language):
    (tmp_path / "a.wav").write_bytes(b"a")
    row = {"audio": "a.wav", "text": "x", "language": language}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row))
    with pytest.raises(NoCalibration, match="row 1"):
        texts(str(tmp_path))


def test_words_that_are_not_text_are_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"a")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(NoCalibration, match=r"a\.txt"):
        texts(str(tmp_path))


def test_a_csv_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_text("audio,text\na.wav," + "x" * 200_000)
    with pytest.raises(NoCalibration, match=r"manifest\.csv cannot be read"):
        texts(str(tmp_path))


def test_json_nested_too_deep_is_named(tmp_path):
    (tmp_path / "manifest.jsonl").write_text("[" * 100_000)
    with pytest.raises(NoCalibration, match=r"manifest\.jsonl cannot be read"):
        texts(str(tmp_path))


def test_a_recording_whose_words_are_none_is_left_out_of_a_folder(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"a")
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(NoCalibration, match="no recordings with text"):
        texts(str(tmp_path))


# Some of each language


@pytest.mark.parametrize(
    ("languages", "most", "which"),
    [
        (["en"] * 300 + ["zh"] * 8, 8, [0, 1, 2, 3, 300, 301, 302, 303]),
        (["en"] * 300 + ["zh"], 4, [0, 1, 2, 300]),
        (["en", "zh", "en"], 8, [0, 1, 2]),
        ([], 8, []),
    ],
)
def test_a_few_are_taken_of_every_language_by_turns(languages, most, which):
    assert by_turns(languages, most) == which
