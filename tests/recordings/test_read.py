"""Recordings with their words, however an operator keeps them."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from app.environment import DEMO
from app.errors import NoCalibration
from app.recordings.read import digest, read
from app.recordings.spec import Recordings
from tests.sound import encode, tone


def sets(source, *, language="en", **wanted):
    return Recordings(sources=[{"source": str(source), "language": language}], **wanted)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(encode(tone(1)))
    return tmp_path


def test_the_demos_manifest_has_languages_and_timed_sentences():
    clips = read(sets(DEMO / "recordings" / "calibration"))
    assert len(clips) == 128
    assert {clip.language for clip in clips} == {"en", "zh"}
    assert clips[0].timed[0][2] in clips[0].text


def test_no_more_than_the_samples_asked_for_are_read():
    source = str(DEMO / "recordings" / "calibration")
    assert len(read(sets(source, samples=3))) == 3


def test_a_csv_manifest_is_read_and_rows_without_language_take_the_settings(folder):
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["audio", "text", "language"], ["a.wav", "求救", "zh"], ["b.wav", "hi", ""]]
        )
    clips = read(sets(folder / "mine.csv"))
    assert [(c.text, c.language) for c in clips] == [("求救", "zh"), ("hi", "en")]
    assert clips[0].waveform().seconds == pytest.approx(1, abs=0.01)


def test_a_folder_without_manifest_takes_texts_beside_recordings(folder):
    (folder / "b.txt").write_text("只有這個有字。\n", "utf-8")
    (clip,) = read(sets(folder, language="zh"))
    assert (clip.text, Path(clip.audio).name, clip.language) == ("只有這個有字。", "b.wav", "zh")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio": "gone.wav", "text": "x"}, r"row 1: there is no .*gone\.wav"),
        ({"audio": "a.wav"}, "row 1: no audio or no text"),
    ],
)
def test_a_manifest_with_missing_parts_names_the_row(folder, row, reason):
    (folder / "manifest.jsonl").write_text(json.dumps(row))
    with pytest.raises(NoCalibration, match=reason):
        read(sets(folder))


def test_a_manifest_that_is_not_json_is_refused(folder):
    (folder / "manifest.jsonl").write_text("audio,text\n")
    with pytest.raises(NoCalibration, match="cannot be read"):
        read(sets(folder))


def test_an_unreadable_recording_is_named(folder):
    (folder / "a.wav").write_text("no sound")
    (folder / "a.txt").write_text("x")
    (clip,) = read(sets(folder))
    with pytest.raises(NoCalibration, match=r"a\.wav"):
        clip.waveform()


@pytest.mark.parametrize("source", ["/no/such/place", "nowhere"])
def test_a_source_that_is_not_there_says_what_to_do(source):
    with pytest.raises(NoCalibration) as caught:
        read(sets(source))
    assert "rtn" in caught.value.advice


def test_an_empty_folder_holds_nothing_to_calibrate_on(tmp_path):
    with pytest.raises(NoCalibration, match="no recordings with text"):
        read(sets(tmp_path))


def test_languages_may_be_named_as_people_name_them(folder):
    rows = [{"audio": "a.wav", "text": "x", "language": name} for name in ("zh-TW", "Chinese")]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [clip.language for clip in read(sets(folder))] == ["zh", "zh"]


@pytest.mark.parametrize("row", ["3", "[]", '{"audio": 1, "text": 2}'])
def test_rows_of_another_kind_are_named(folder, row):
    (folder / "manifest.jsonl").write_text(row)
    with pytest.raises(NoCalibration, match="row 1"):
        read(sets(folder))


def test_a_recording_over_30_s_is_named(folder):
    (folder / "a.wav").write_bytes(encode(tone(31), rate=8_000))
    (folder / "a.txt").write_text("x")
    (clip,) = read(sets(folder))
    with pytest.raises(NoCalibration, match=r"a\.wav.*longer than 30 s"):
        clip.waveform()


def test_the_digest_is_of_what_is_heard_and_not_of_where_it_lies(folder, tmp_path_factory):
    (folder / "a.txt").write_text("one")
    before = digest(sets(folder))
    moved = tmp_path_factory.mktemp("moved") / "there"
    shutil.copytree(folder, moved)
    assert digest(sets(moved)) == before
    (moved / "b.txt").write_text("two")
    assert digest(sets(moved)) != before


@pytest.mark.parametrize("name", ["a.wav", "a.txt"])
def test_a_pipe_in_a_folder_is_passed_over_and_not_waited_for(folder, name):
    (folder / "a.txt").write_text("first")
    (folder / "b.txt").write_text("second")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert [clip.text for clip in read(sets(folder))] == ["second"]


@pytest.mark.parametrize("special", ["pipe", "device"])
def test_a_manifests_row_names_regular_files_alone(folder, special):
    if special == "pipe":
        os.mkfifo(folder / "c.wav")
    else:
        (folder / "c.wav").symlink_to("/dev/zero")
    (folder / "manifest.jsonl").write_text(json.dumps({"audio": "c.wav", "text": "x"}))
    with pytest.raises(NoCalibration, match="row 1"):
        read(sets(folder))


def test_a_manifest_that_is_a_pipe_is_none(folder):
    os.mkfifo(folder / "manifest.jsonl")
    (folder / "a.txt").write_text("words")
    assert [clip.text for clip in read(sets(folder))] == ["words"]


# Sets of the hub, whose library is made up


SOUND = encode(tone(1))


def test_a_hubs_set_is_asked_of_the_hub_also_where_a_folder_has_its_name(
    hub, tmp_path, monkeypatch
):
    (tmp_path / "some" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    fake = hub({"audio": {"bytes": SOUND, "path": "0.wav"}, "text": "mayday"})
    (clip,) = read(sets("some/set:clean:train", samples=1))
    assert (clip.audio, clip.text) == (SOUND, "mayday")
    assert fake.asked == [("hf://datasets/some/set", "clean")]


@pytest.mark.parametrize("path", ["/etc/hostname", "/dev/zero", "a.wav"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_hubs_row_that_names_a_file_is_refused_and_the_file_not_opened(hub, path, content):
    hub({"audio": {"bytes": content, "path": path}, "text": "x"})
    with pytest.raises(NoCalibration, match="row 1: it names a file"):
        read(sets("some/set:clean:train"))


@pytest.mark.parametrize(
    "file", ["/etc/hostname", "https://elsewhere/a", "hf://datasets/other/set@a/b", "srv/a.json"]
)
def test_a_hubs_set_that_points_outside_of_itself_is_refused(hub, file):
    hub({"audio": {"bytes": SOUND}, "text": "x"}, files=[file])
    with pytest.raises(NoCalibration, match="outside of itself"):
        read(sets("some/set:clean:train"))


@pytest.mark.parametrize("source", ["json:default:train", "set:clean", "a/b/c:d", "../a:b"])
def test_what_has_no_owner_is_no_set_of_the_hub(hub, source):
    fake = hub({"audio": {"bytes": SOUND}, "text": "x"})
    with pytest.raises(NoCalibration, match="no calibration source"):
        read(sets(source))
    assert fake.asked == []
