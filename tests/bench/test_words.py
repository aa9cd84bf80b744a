"""The benchmark of words: its recordings, who is asked what in which order, and its figures."""

import sys

import numpy as np
import pytest

from app.audio.waveform import SAMPLE_RATE
from bench.peer_whisper import renamed
from bench.recordings import Case, Sentence
from bench.transcribers import Heard, Task, peer
from bench.word_recordings import Timed, timed
from bench.word_speed import in_turn, quantile
from bench.words import Answer, Row, cells, paired, rows, tasks

PEER = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[-1])
for task in json.loads((folder / "tasks.json").read_text("utf-8")):
    assert (folder / task["audio"]).stat().st_size > 44
    words = [[0.1, 0.4, " Hello"]] if task["words"] else []
    told = {"segments": [[0, 1, " Hello"]], "words": words, "language": task["language"]}
    print(json.dumps(told | {"seconds": 2.0}))
"""


def recording(name, seconds=1.0):
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    hello = (Sentence(0.1, 0.4, "Hello."),)
    return Timed("clean", Case(name, samples, hello), hello)


@pytest.fixture(scope="module")
def several():
    return {one.case.name: one for one in timed()}


def test_sentences_said_anew_have_their_words_where_they_are_said(several):
    level = several["level"]
    for name in ("long silences", "without a pause"):
        anew = several[name]
        assert [w.text for w in anew.words] == [w.text for w in level.words[: len(anew.words)]]
        assert sum(len(one.text.split()) for one in anew.case.sentences) == len(anew.words)
        for then, now in list(zip(level.words, anew.words, strict=False))[::20]:
            assert np.array_equal(sound(level, then), sound(anew, now))


def sound(one, word):
    """Its first 20 ms, but for a sample that is rounded away."""
    begin = round(word.start * SAMPLE_RATE)
    window = one.case.samples[begin - 2 : begin + 320]
    return np.round(np.convolve(np.abs(window), np.ones(5), "valid").max(), 1)


def test_long_silences_are_gaps_and_without_a_pause_there_is_none(several):
    assert max(end - begin for begin, end in several["long silences"].gaps) > 7
    assert all(begin in (0, several["without a pause"].words[-1].end) for begin, _ in
               several["without a pause"].gaps)  # fmt: skip


def test_each_recording_is_heard_with_words_and_without_in_turn_behind_a_warming_one():
    short, long = recording("short"), recording("long", 2.0)
    asked = tasks([long, short])
    assert [(one.case.name, one.words) for one in asked] == [
        ("short", True), ("long", False), ("long", True), ("short", True), ("short", False),
    ]  # fmt: skip
    heard = [Heard((), str(number), 1.0) for number in range(5)]
    told = [(a.one, a.words.language, a.plain.language) for a in paired([long, short], heard)]
    assert told == [(long, "2", "1"), (short, "3", "4")]


def test_a_peer_is_asked_for_words_where_a_task_has_them(tmp_path):
    (tmp_path / "peer.py").write_text(PEER, "utf-8")
    case = recording("one").case
    with_words, without = peer(
        [Task(case, words=True), Task(case)], [sys.executable, str(tmp_path / "peer.py")]
    )
    assert with_words.words == (Sentence(0.1, 0.4, " Hello"),)
    assert without == Heard((Sentence(0, 1, " Hello"),), "en", 2.0)


def test_a_peer_that_fails_fails_the_benchmark():
    with pytest.raises(Exception, match="non-zero"):
        list(peer([Task(recording("one").case)], [sys.executable, "-c", "raise SystemExit(3)"]))


def test_a_row_is_of_all_recordings_of_a_kind():
    one = recording("one")
    said = Heard((Sentence(0, 1, " Hello"),), "en", 3.0, words=(Sentence(0.2, 0.4, " Hello"),))
    answer = Answer(one, said, Heard((), "en", 2.0))
    (row,) = rows("us", [answer, answer])
    assert (row.who, row.recordings, row.score.said, row.seconds) == ("us", "clean, en", 2, 6.0)
    assert cells(row)[:4] == ["2", "2", "100 / 100", "0.0 %"]
    assert cells(row)[-1] == "1.50"


def test_a_server_without_words_is_told_as_one():
    refused = Heard((), "", 1.0, refused=True)
    (row,) = rows("us", [Answer(recording("one"), refused, Heard((), "en", 2.0))])
    assert cells(row) == ["refused"]
    assert cells(Row("us", "clean, en", None, 1.0, 1.0)) == ["refused"]


def test_which_is_measured_first_changes():
    assert list(in_turn(2)) == [
        (0, False), (0, True), (1, True), (1, False), (2, False), (2, True),
    ]  # fmt: skip


def test_a_quantile_of_a_histogram_lies_within_its_bucket():
    buckets = {0.01: 50.0, 0.1: 100.0, float("inf"): 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.01)
    assert quantile(buckets, 0.75) == pytest.approx(0.055)
    assert quantile({0.01: 1.0, float("inf"): 100.0}, 0.99) == pytest.approx(0.01)
    assert np.isnan(quantile({0.01: 0.0, float("inf"): 0.0}, 0.99))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("model.encoder.conv1.weight", "encoder.conv1.weight"),
        ("model.encoder.layers.3.self_attn.q_proj.bias", "encoder.blocks.3.attn.query.bias"),
        ("model.encoder.layer_norm.weight", "encoder.ln_post.weight"),
        ("decoder.layers.0.encoder_attn.out_proj.bias", "decoder.blocks.0.cross_attn.out.bias"),
        ("decoder.layers.0.encoder_attn_layer_norm.bias", "decoder.blocks.0.cross_attn_ln.bias"),
        ("model.decoder.layers.0.final_layer_norm.bias", "decoder.blocks.0.mlp_ln.bias"),
        ("model.decoder.layers.0.fc2.bias", "decoder.blocks.0.mlp.2.bias"),
        ("model.decoder.layer_norm.bias", "decoder.ln.bias"),
        ("model.decoder.embed_positions.weight", "decoder.positional_embedding"),
        ("model.decoder.embed_tokens.weight", "decoder.token_embedding.weight"),
    ],
)  # fmt: skip
def test_weights_have_openais_names(name, wanted):
    assert renamed(name) == wanted
