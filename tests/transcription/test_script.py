"""Chinese in one script, everywhere alike."""

import pytest

from app.audio.waveform import Waveform
from app.environment import DEMO
from app.languages import script_of
from app.speech.cutting import Cutting
from app.transcription.results import Options, Transcript
from app.transcription.script import written_in
from tests.sound import tone
from tests.transcription.fakes import TS, FakeDecoder, FakeText, loaded, said, transcribed

TEXTS = [
    (DEMO / "voices" / "texts" / f"{split}.zh.txt").read_text("utf-8")
    for split in ("calibration", "judge")
]


@pytest.mark.parametrize(
    ("tag", "script"),
    [
        ("zh-TW", "zh-TW"), ("zh_tw", "zh-TW"), ("zh-Hant-TW", "zh-TW"), ("zh-Hant", "zh-Hant"),
        ("zh-HK", "zh-HK"), ("zh-MO", "zh-Hant"), ("zh-CN", "zh-Hans"), ("zh-Hans", "zh-Hans"),
        ("cmn-Hans-CN", "zh-Hans"), ("zh-SG", "zh-Hans"), ("zh-Hans-TW", "zh-Hans"),
        ("zh", None), ("chinese", None), ("en-TW", None), ("yue-HK", None), ("zh-yue", None),
        ("not a language", None), ("auto", None),
    ],
)  # fmt: skip
def test_a_tag_asks_for_a_script(tag, script):
    assert script_of(tag) == script


@pytest.mark.parametrize(
    ("text", "script", "written"),
    [
        ("软件和鼠标", "zh-TW", "軟體和滑鼠"),  # Taiwan's words, not characters alone
        ("软件和鼠标", "zh-Hant", "軟件和鼠標"),
        ("軟體和滑鼠", "zh-Hans", "软体和滑鼠"),
        ("皇后在后面", "zh-TW", "皇后在後面"),  # by phrases: 后 is two characters
        ("里面 有 三 公里 OK 吗", "zh-TW", "裡面有三公里 OK 嗎"),
        ("里面 有", None, "里面有"),
        (" 你好 ", None, " 你好 "),
    ],
)
def test_a_text_is_written_in_a_script_and_without_spaces_between_its_characters(
    text, script, written
):
    assert written_in(text, script) == written


@pytest.mark.parametrize("script", ["zh-TW", "zh-HK", "zh-Hant", "zh-Hans"])
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_in_a_script_stays_as_it_is(text, script):
    once = written_in(text, script)
    assert written_in(once, script) == once


class Chinese(FakeText):
    def decode(self, ids):
        return "".join({1: "软件", 2: "鼠标"}.get(i, "") for i in ids)


async def heard(languages, options):
    steps = said(TS, 1, TS + 50, TS + 50, 2, languages=languages)
    model = loaded(FakeDecoder(lambda number: steps))
    model.decoder._text = Chinese()
    events = transcribed(model, Waveform.of(tone(3)), options, Cutting())
    *segments, finished = [event async for event in events]
    assert isinstance(finished, Transcript)
    assert "".join(segment.text for segment in segments) == finished.text
    return finished.text


@pytest.mark.anyio
async def test_text_segments_and_deltas_are_in_the_script():
    chinese = {"zh": 0.9, "en": 0.1}
    assert await heard(chinese, Options(script="zh-TW")) == "軟體滑鼠"
    assert await heard({}, Options(languages=("zh",), script="zh-TW")) == "軟體滑鼠"
    assert await heard(chinese, Options()) == "软件鼠标"


@pytest.mark.anyio
async def test_other_languages_keep_theirs():
    assert await heard({"ja": 0.9, "zh": 0.1}, Options(script="zh-TW")) == "软件鼠标"
    assert await heard({"zh": 1.0}, Options(translate=True, script="zh-TW")) == "软件鼠标"
