"""A promoted checkpoint hears as its proof did, before clients are let in."""

from collections import Counter
from pathlib import Path

import pytest

from app.audio.decoding import InThisProcess
from app.checkpoints.checkpoint import Checkpoint
from app.errors import CanaryFailed, EngineDied, NotAudio
from app.quantization import canaries
from app.quantization.canaries import Canary, Picked
from app.recordings.clip import Clip
from app.recordings.word_times import TimedWord, WordTimes
from app.sources.source import Source
from app.speech.cutting import Cutting
from tests.quantization.fakes import Says, proof
from tests.serving.fakes import served
from tests.sound import encode, tone

pytestmark = pytest.mark.anyio

WAV = encode(tone(1))
LONG_ZH = "求救求救我們的船正在下沉位置不明"


async def check(decoder, several):
    model = served(decoder, Checkpoint(Source("mine", Path(), ""), Path()))
    await canaries.check(model, several, InThisProcess(), cutting=Cutting())


def canary(expected, language="en", allowed=0.1):
    return Canary(WAV, language, expected, allowed)


def clips(**numbers):
    """So many of each language, one after the other."""
    return [
        Clip(WAV, f"{language} {n}", language)
        for language, several in numbers.items()
        for n in range(several)
    ]


# Which


@pytest.mark.parametrize(
    ("numbers", "chosen"),
    [({"en": 1}, {"en": [0]}), ({"en": 3}, {"en": [0, 1, 2]}), ({"en": 4}, {"en": [0, 1, 2, 3]}),
     ({"en": 8, "zh": 2}, {"en": [0, 2, 4, 6], "zh": [0, 1]}),
     ({"en": 300}, {"en": [0, 75, 150, 225]})],
)  # fmt: skip
def test_some_of_each_language_are_chosen_spread_over_the_proof(numbers, chosen):
    several = clips(**numbers)
    picked = canaries.chosen(several, proof(*several))
    assert [clip.text for clip, *_ in picked] == [
        f"{language} {n}" for language, which in chosen.items() for n in which
    ]


def test_what_is_expected_is_what_the_candidate_was_heard_to_say():
    several = [*clips(en=2), *clips(zh=1)]
    judged = proof(*several)
    judged.sentences[0].candidate = "heard otherwise"
    picked = canaries.chosen(several, judged)
    assert [one.expected for one in picked] == ["heard otherwise", "en 1", "zh 0"]


def test_languages_that_alternate_are_each_counted_apart():
    several = [one for pair in zip(clips(en=20), clips(zh=20), strict=True) for one in pair]
    picked = canaries.chosen(several, proof(*several))
    assert Counter(clip.language for clip, *_ in picked) == {"en": 4, "zh": 4}
    assert all(one.clip.text == one.expected for one in picked)


# Kept


def test_what_is_kept_is_found_again_although_the_recordings_are_gone(tmp_path):
    recording = tmp_path / "a.wav"
    recording.write_bytes(WAV)
    picked = [
        Picked(Clip(recording, "said", "en"), "heard"),
        Picked(Clip(b"bytes", "說", "zh"), "聽見"),
    ]
    canaries.keep(tmp_path / "kept", picked)
    recording.unlink()
    first, second = canaries.kept(tmp_path / "kept")
    assert (first.audio, first.language, first.expected) == (WAV, "en", "heard")
    assert (second.audio, second.language, second.expected) == (b"bytes", "zh", "聽見")
    assert first.allowed == second.allowed == pytest.approx(0.1)


def test_what_is_kept_anew_takes_the_old_ones_place(tmp_path):
    canaries.keep(tmp_path / "kept", [Picked(one, one.text) for one in clips(en=3)])
    canaries.keep(tmp_path / "kept", [Picked(one, one.text) for one in clips(zh=1)])
    assert [one.language for one in canaries.kept(tmp_path / "kept")] == ["zh"]
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize("damage", ["gone", "json", "audio"])
def test_what_is_kept_no_longer_says_so(tmp_path, damage):
    folder = tmp_path / "kept"
    if damage != "gone":
        canaries.keep(folder, [Picked(one, one.text) for one in clips(en=1)])
    if damage == "json":
        (folder / "canaries.json").write_text("{")
    if damage == "audio":
        (folder / "0.audio").unlink()
    with pytest.raises((OSError, ValueError)):
        canaries.kept(folder)


# An operator's own


def test_an_operators_own_may_be_missed_as_often_as_the_proofs_were():
    judged = proof(*clips(en=1, zh=1), rates={"en": 0.2, "zh": 0.05}).summary()
    own = canaries.given([*clips(en=1), *clips(zh=1), *clips(de=1)], judged)
    assert [one.allowed for one in own] == [
        pytest.approx(0.3), pytest.approx(0.15), pytest.approx(0.3),  # German: the worst's
    ]  # fmt: skip
    assert [one.expected for one in own] == ["en 0", "zh 0", "de 0"]


async def test_an_operators_own_are_judged_as_the_proof_was_by_words_or_by_characters():
    """Three of ten words are wrong, each by a letter: a tenth of the characters would pass."""
    said = "keep a good watch on the sea at night here"
    heard = "keep a good watts on the see at nite here"
    judged = proof(*clips(en=1, zh=1), rates={"en": 0.1, "zh": 0.1}).summary()
    own = canaries.given([Clip(WAV, said, "en")], judged)
    with pytest.raises(CanaryFailed, match=r"30\.0% of words, over 20\.0%"):
        await check(Says(en=heard), own)
    own = canaries.given([Clip(WAV, "求救求救求救求救求救", "zh")], judged)
    with pytest.raises(CanaryFailed, match=r"30\.0% of characters"):
        await check(Says(zh="求救求救求救求見再見"), own)


def test_own_ones_are_read_when_they_are_given(tmp_path):
    recording = tmp_path / "a.wav"
    recording.write_bytes(WAV)
    own = canaries.given([Clip(recording, "said", "en")], proof(*clips(en=1)).summary())
    recording.unlink()
    assert own[0].audio == WAV


# Heard


async def test_what_is_heard_as_expected_passes_each_in_its_language():
    says = Says(en="Mayday, mayday.", zh="求救")
    await check(says, [canary("mayday mayday"), canary("求救", "zh")])
    assert [options.languages for options in says.asked] == [("en",), ("zh",)]
    assert says.closed == 2


async def test_a_token_that_flips_is_no_failure():
    await check(Says(zh=LONG_ZH[:-1] + "暗"), [canary(LONG_ZH, "zh")])


async def test_a_language_that_is_heard_otherwise_fails_and_the_worst_is_told():
    says = Says(en="mayday", zh="再見再見")
    with pytest.raises(CanaryFailed, match="in zh") as caught:
        await check(says, [canary("mayday"), canary("求救求救", "zh")])
    for text in ("求救求救", "再見再見"):
        assert text in caught.value.transcripts
        assert text not in str(caught.value)
        assert text not in caught.value.message
    assert caught.value.advice


async def test_a_language_is_judged_by_all_its_canaries_together():
    several = [canary("the wind comes from the east tonight")] * 9 + [canary("mayday")]
    await check(Says(en="the wind comes from the east tonight"), several[:9])
    with pytest.raises(CanaryFailed):
        await check(Says(en="the wind comes from the east tonight"), several[-2:])


async def test_the_worst_of_a_language_is_the_one_that_is_told():
    several = [canary("求救求"), canary("完全不同的話語", allowed=0.1)]
    with pytest.raises(CanaryFailed) as caught:
        await check(Says(en="求救求"), several)
    assert "完全不同的話語" in caught.value.transcripts


async def test_a_good_language_does_not_make_up_for_a_bad_one():
    many = [canary("the wind comes from the east")] * 20
    says = Says(en="the wind comes from the east", zh="再見再見")
    with pytest.raises(CanaryFailed, match="in zh"):
        await check(says, [*many, canary("求救求救", "zh")])


async def test_own_ones_pass_within_their_allowance():
    wrong = canary("求救求救求救求救求救", "zh", allowed=0.3)
    await check(Says(zh="求救求救求救求再見救"), [wrong])
    with pytest.raises(CanaryFailed):
        await check(Says(zh="求救求救求再見再見"), [wrong])


@pytest.mark.parametrize("heard", ["", "thank you for watching"])
async def test_where_nothing_was_to_be_heard_something_fails(heard):
    silent = [canary("")]
    if heard:
        with pytest.raises(CanaryFailed):
            await check(Says(en=heard), silent)
    else:
        await check(Says(en=heard), silent)


async def test_what_is_not_heard_at_all_fails():
    with pytest.raises(CanaryFailed):
        await check(Says(en=""), [canary("mayday")])


async def test_an_engine_that_dies_meanwhile_is_told_of():
    says = Says(en=EngineDied("gone"))
    with pytest.raises(EngineDied):
        await check(says, [canary("mayday")])
    assert says.closed == 1


async def test_what_is_no_sound_is_told_of():
    with pytest.raises(NotAudio):
        await check(Says(en="x"), [Canary(b"none" * 9, "en", "x", 0.1)])


async def test_no_canaries_pass():
    await check(Says(), [])


def test_the_names_of_recordings_do_not_matter(tmp_path):
    one = tmp_path / "名字 with spaces.wav"
    one.write_bytes(WAV)
    canaries.keep(tmp_path / "kept", [Picked(Clip(one, "x", "en"), "x")])
    assert canaries.kept(tmp_path / "kept")[0].audio == WAV


# Times of words


SAID = (TimedWord(0.1, 0.3, "mayday"), TimedWord(0.5, 0.7, "mayday"))
TIMED = Clip(WAV, "mayday mayday", "en", words=SAID)


def timed_proof(median_ms):
    judged = proof(TIMED)
    found = WordTimes(words=2, said=2, median_ms=median_ms, p95_ms=90.0)
    english = judged.languages["en"].model_copy(update={"word_times": {"candidate": found}})
    return judged.model_copy(update={"languages": {"en": english}})


def kept_of(tmp_path, median_ms):
    canaries.keep(tmp_path / "kept", canaries.chosen([TIMED], timed_proof(median_ms)))
    return canaries.kept(tmp_path / "kept")


def given_of(_, median_ms):
    return canaries.given([TIMED], timed_proof(median_ms).summary())


@pytest.mark.parametrize("flock", [kept_of, given_of])
async def test_words_at_other_times_than_in_the_proof_fail(tmp_path, flock):
    several = flock(tmp_path, 30.0)
    await check(Says(words_ms=(130, 560), en="mayday mayday"), several)
    with pytest.raises(CanaryFailed, match=r"begin 150 ms off \(median\), over 70 ms"):
        await check(Says(words_ms=(250, 650), en="mayday mayday"), several)


async def test_words_are_asked_for_only_where_their_times_are_known(tmp_path):
    says = Says(words_ms=(100, 500), en="mayday mayday")
    await check(says, [*kept_of(tmp_path, 30.0), canary("mayday mayday")])
    assert [request.words for request in says.asked] == [True, False]


async def test_a_model_without_times_of_words_is_judged_by_its_text(tmp_path):
    await check(Says(en="mayday mayday"), kept_of(tmp_path, 30.0))
