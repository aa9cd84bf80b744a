"""Long and odd recordings to a real engine with OpenAI's tiny.en: every second is accounted for.

Their voice is synthetic (demo/voices/long.py).
"""

import json
import re
from itertools import pairwise

import httpx
import jiwer
import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE
from app.recordings.error_rates import normalized
from tests.engine.conftest import RECORDINGS
from tests.engine.test_transcription import metric, post, wait_until
from tests.sound import encode, encode_channels, repeated_opus, silence

LONG = RECORDINGS / "long"
LINES = (LONG / "manifest.jsonl").read_text("utf-8").splitlines()
ROWS = {row["audio"]: row for row in map(json.loads, LINES)}


def read(name, since=0, until=None):
    """Sentences of a recording, and its samples up to the middle of the pause behind them."""
    sentences = ROWS[name]["segments"]
    until = until or len(sentences)
    end = sentences[until - 1][1]
    with (LONG / name).open("rb") as file:
        samples = decode(file, max_seconds=900).samples
    begin = sentences[since][0] - 0.1
    said = [(start - begin, end - begin, text) for start, end, text in sentences[since:until]]
    return said, samples[int(begin * SAMPLE_RATE) : int((end + 0.1) * SAMPLE_RATE)]


def words(text):
    return normalized(text, "en")


@pytest.fixture(scope="module")
def reading(packed):
    """A minute and a half of prose, and what is told of it."""
    said, samples = read("prose.ogg", until=24)
    answer = post(packed, encode(samples), response_format="verbose_json").json()
    return said, samples, answer


def test_no_sentence_of_a_long_recording_is_lost(reading):
    said, samples, answer = reading
    assert answer["duration"] == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.1)
    assert jiwer.wer(words(" ".join(text for *_, text in said)), words(answer["text"])) < 0.05
    assert answer["coverage"]["dropped"] == []


def test_a_long_recording_that_breaks_off_is_refused_though_it_had_begun(packed):
    """Its windows are decoded while it is: of what they say nobody is told."""
    whole = (LONG / "prose.ogg").read_bytes()
    begun = "marlinscribe_queue_duration_seconds_count"
    before = metric(packed, begun)
    answer = post(packed, whole[: len(whole) // 2])
    assert answer.status_code == 400
    assert "breaks off" in answer.json()["error"]["message"]
    assert metric(packed, begun) > before
    wait_until(lambda: metric(packed, "vllm:num_requests_running") == 0, seconds=20)
    assert post(packed, (RECORDINGS / "mayday.mp3").read_bytes()).status_code == 200


def test_segments_are_in_order_and_where_somebody_speaks(reading):
    said, _, answer = reading
    assert all(a["end"] <= b["start"] for a, b in pairwise(answer["segments"]))
    assert all(told["start"] < told["end"] for told in answer["segments"])
    starts = [start for start, _, _ in said]
    begun = [told for told in answer["segments"] if told["text"].strip()[0].isupper()]
    off = [min(abs(told["start"] - start) for start in starts) for told in begun]
    assert np.quantile(off, 0.9) < 0.5


def test_joined_deltas_are_the_text(packed, reading):
    said, samples, _ = reading
    with httpx.stream(
        "POST",
        f"{packed.url}/v1/audio/transcriptions",
        files={"file": ("a.wav", encode(samples))},
        data={"stream": "true"},
        timeout=300,
    ) as stream:
        lines = [line[6:] for line in stream.iter_lines() if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    deltas = [event["delta"] for event in events if event["type"] == "transcript.text.delta"]
    assert "".join(deltas) == events[-1]["text"]
    assert len(deltas) > len(said) / 2


def test_every_second_of_speech_is_accounted_for(packed):
    said, samples = read("prose.ogg", until=2)
    apart = np.concatenate([silence(15), samples, silence(40), samples])
    before = metric(packed, "marlinscribe_speech_seconds_total")
    answer = post(packed, encode(apart), response_format="verbose_json").json()
    text = " ".join(text for *_, text in said)
    assert jiwer.wer(words(f"{text} {text}"), words(answer["text"])) < 0.1
    length = len(samples) / SAMPLE_RATE
    assert answer["coverage"]["speech"] == pytest.approx(2 * length, rel=0.2)
    assert answer["coverage"]["dropped"] == []
    spoken = [(15, 15 + length), (55 + length, 55 + 2 * length)]
    for told in answer["segments"]:
        assert any(a <= told["start"] < told["end"] <= b + 0.1 for a, b in spoken)
    counted = metric(packed, "marlinscribe_speech_seconds_total") - before
    assert counted >= answer["coverage"]["speech"] - 0.01


def test_a_request_says_what_counts_as_speech(packed):
    _, samples = read("prose.ogg", until=2)

    def speech(**strategy):
        fields = {"chunking_strategy": json.dumps({"type": "server_vad"} | strategy)}
        answer = post(packed, encode(samples), response_format="verbose_json", **fields).json()
        return answer["coverage"]["speech"]

    assert speech(threshold=0.99) < speech() == speech(threshold=0.5)


@pytest.mark.parametrize("name", ["digits.ogg", "counting.ogg", "shopping.ogg"])
def test_lists_do_not_become_loops(packed, name):
    said, samples = read(name)
    answer = post(packed, encode(samples), response_format="verbose_json").json()
    spoken, told = (
        re.findall(r"\w+", text) for text in (" ".join(t for *_, t in said), answer["text"])
    )
    assert len(told) == pytest.approx(len(spoken), rel=0.1)


def test_channels_are_transcribed_each_by_itself(packed):
    (first, one), (second, two) = read("prose.ogg", until=1), read("prose.ogg", since=1, until=2)
    length = max(len(one), len(two))
    both = np.stack([np.pad(one, (0, length - len(one))), np.pad(two, (length - len(two), 0))])
    fields = {"response_format": "verbose_json", "channels": "split"}
    answer = post(packed, encode_channels(both), **fields).json()
    for number, said in enumerate((first, second)):
        told = "".join(s["text"] for s in answer["segments"] if s["channel"] == number)
        assert jiwer.wer(words(said[0][2]), words(told)) < 0.2


def test_an_hour_of_silence_is_answered_with_an_empty_text(packed):
    content = repeated_opus(1, silence(60))
    assert len(content) < 1e6
    answer = post(packed, content, response_format="verbose_json").json()
    assert (answer["text"], answer["segments"]) == ("", [])
    assert answer["duration"] == pytest.approx(3600, abs=10)
    assert answer["coverage"] == {"speech": 0, "decoded_again": 0, "dropped": []}


def test_the_first_and_last_words_are_told_where_a_recording_begins_and_ends_with_them(packed):
    (first, *_, last), samples = read("prose.ogg", until=2)
    tight = samples[int(first[0] * SAMPLE_RATE) : int(last[1] * SAMPLE_RATE)]
    answer = post(packed, encode(tight), response_format="verbose_json").json()
    assert words(answer["text"]) == words(f"{first[2]} {last[2]}")
    told, length = answer["segments"], len(tight) / SAMPLE_RATE
    assert told[0]["start"] < 0.2
    assert told[-1]["end"] == pytest.approx(length, abs=0.2)


def test_a_tenth_of_a_second_is_answered_and_less_is_refused(packed):
    _, samples = read("prose.ogg", until=1)
    tenth = samples[SAMPLE_RATE : SAMPLE_RATE + SAMPLE_RATE // 10]
    heard = {"chunking_strategy": '{"type":"server_vad","threshold":0.01}'}
    for fields in ({}, heard):
        answer = post(packed, encode(tenth), response_format="verbose_json", **fields)
        assert answer.status_code == 200
        assert answer.json()["duration"] == 0.1
    refused = post(packed, encode(tenth[:-1]))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "file")


def test_faint_speech_is_no_speech_until_a_lower_threshold_is_asked_for(packed):
    """As a detector has it that whispering is none."""
    said, samples = read("prose.ogg", until=2)
    faint = encode(samples * 10 ** (-61 / 20))
    missed = post(packed, faint, response_format="verbose_json").json()
    assert (missed["text"], missed["coverage"]["speech"]) == ("", 0)
    fields = {"chunking_strategy": '{"type":"server_vad","threshold":0.05}'}
    answer = post(packed, faint, response_format="verbose_json", **fields).json()
    assert jiwer.wer(words(" ".join(text for *_, text in said)), words(answer["text"])) < 0.5


def test_a_prompt_of_special_tokens_is_no_prompt(packed):
    _, samples = read("prose.ogg", until=2)
    special = "<|endoftext|><|nospeech|><|startoftranscript|><|0.00|><|notimestamps|>" * 20
    plain, prompted = (
        post(packed, encode(samples), **fields).json()["text"]
        for fields in ({}, {"prompt": special})
    )
    assert prompted == plain != ""
