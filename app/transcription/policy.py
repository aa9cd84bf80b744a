"""What is done with a decoded window: its segments are accepted, it is decoded again, or it is
dropped, each for a reason.

Pure functions over a WindowResult. `transcription/windows.py` carries out what they say.
"""

import re
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from rapidfuzz import fuzz

from app.models.base import DecodeRequest, Segment, WindowResult
from app.transcription.speaking_rate import least_seconds

# openai/whisper `transcribe.py`: silence is what the model calls silence and is unsure about.
NO_SPEECH_PROB = 0.6
NO_SPEECH_LOGPROB = -1.0
# Ibid.: text that zlib shrinks this much repeats itself.
COMPRESSION_RATIO = 2.4
# Of a window that is heard shortened: a sentence told twice shrinks to less than that.
DOUBTED_RATIO = 1.6
# Ibid.: so many characters at the end that stand alike, in percent, further up too. Of 77 texts of
# the bundled judge that are right this is so of four, which costs them a pass.
_ENDING = 10
ALIKE = 80.0
# A model that runs out of room says more than is spoken (a loop) oftener than it has more to say.
MOST_PASSES = 12
_LEAST_HALVED_MS = 8000
_WARMER = 0.2  # ibid.
_LOOP = re.compile(r"(.{1,200}?)\1{2,}.*$", re.DOTALL)
_LEAST_REST_MS = 500  # less than this behind the last closed segment is not worth a pass
_SPARE_MS = 200  # the detector may miss as much of a window's first and last sounds
LEAST_SPEECH_MS = 500  # nor is less speech: a segment's end is off by as much
# What ends so near to where speech was cut may have lost half a word.
_NEAR_CUT_MS = 500


@dataclass(frozen=True)
class Accept:
    """Tell these segments: the window is done. looped: whether the decoder repeats itself behind
    them."""

    segments: tuple[Segment, ...]
    looped: bool = False


@dataclass(frozen=True)
class DecodeAgain:
    """Tell these segments, and decode what lies behind them by another request, and then by the one
    after that. tail: text that was begun behind them, told after all where the next pass finds
    nothing there."""

    segments: tuple[Segment, ...]
    request: DecodeRequest
    reason: Literal[
        "limit",
        "repetition",
        "ended_early",
        "silence_after_prompt",
        "language",
        "cut_in_speech",
        "shortened",
    ]
    tail: Segment | None = None
    then: DecodeRequest | None = None


@dataclass(frozen=True)
class Drop:
    """Tell nothing of the window."""

    reason: Literal["no_speech", "more_than_said"]
    segments: tuple[Segment, ...] = ()


Verdict = Accept | DecodeAgain | Drop


def may_be_silence(result: WindowResult) -> bool:
    """Whether the model may turn out to call a window silence."""
    return result.detection.no_speech_prob > NO_SPEECH_PROB


def is_silence(result: WindowResult) -> bool:
    """Whether a decoded window holds no speech."""
    return may_be_silence(result) and result.figures.avg_logprob < NO_SPEECH_LOGPROB


def may_be_dropped(result: WindowResult) -> bool:
    """Whether a window may be dropped or decoded otherwise at its end, so that none of its segments
    is told yet."""
    return may_be_silence(result) or result.request.is_rest or result.is_shortened


def repeats(result: WindowResult) -> bool:
    """Whether a decoder has begun to repeat itself, as prompts make decoders do; without one, only
    where it has no end, or nobody could say it all in the time. What is said thirty times is
    written thirty times.
    """
    if result.figures.compression_ratio <= COMPRESSION_RATIO:
        return False
    return result.request.prompted or result.ended == "limit" or _is_too_fast(result)


def _is_too_fast(result: WindowResult) -> bool:
    """Whether nobody could say a window's text in the time that somebody speaks in it."""
    window = result.request.window
    tail = (result.tail,) if result.tail else ()
    seconds = sum(least_seconds(segment.text) for segment in (*result.closed, *tail))
    there = window.duration_ms if window.speech is None else window.speech_ms_after(0)
    return 1000 * seconds > there + _SPARE_MS


def judge(result: WindowResult, *, looped: bool = False, last: bool = False) -> Verdict:
    """What becomes of a window that was decoded to its end, or that `looped` and was broken off:
    then only what had closed before is believed. `last`: it is not decoded again.

    A window is decoded again behind its last closed segment where the decoder ran out of room, so
    that nothing said is lost; and where a prompted decoder repeats itself, or ends while there is
    still something to be heard. That pass has no prompt: it takes room, and may be why. Where it
    was cut in speech, what reaches the cut is decoded again with what follows it. What is doubtful
    of a window that the model heard shortened says little: it is heard whole first.
    """
    if not last and _is_doubtful(result, looped):
        return DecodeAgain((), replace(result.request, is_whole=True), "shortened")
    if beyond := _beyond_cut(result, looped):
        return beyond
    again = None if last else _again(result, looped)
    if again:
        return again
    if is_silence(result):
        return Drop("no_speech")
    if result.request.is_rest and _is_too_fast(result):
        return Drop("more_than_said")
    return Accept((*result.closed, *_told_tail(result, looped)), looped)


def _is_doubtful(result: WindowResult, looped: bool) -> bool:
    """Whether a window that was heard shortened shows any of openai/whisper's signs of failure, or
    ends before its speech."""
    if not result.is_shortened:
        return False
    told_to = result.request.window.point_of(result.closed[-1].end_ms) if result.closed else 0
    return (
        looped
        or result.ended == "limit"
        or result.figures.compression_ratio > DOUBTED_RATIO
        or result.figures.avg_logprob < NO_SPEECH_LOGPROB
        or may_be_silence(result)
        or (result.tail is None and _is_unheard(result.request, told_to))
        or _is_too_fast(result)
        or _ends_twice(result)
    )


def _ends_twice(result: WindowResult) -> bool:
    """Whether a text's end is much like a place before it: told once more, in other words."""
    told = (*result.closed, *((result.tail,) if result.tail else ()))
    text = "".join(one.text for one in told).strip()
    before, ending = text[:-_ENDING], text[-_ENDING:]
    return len(before) >= _ENDING and fuzz.partial_ratio(before, ending) > ALIKE


def reaches_cut(segment: Segment, request: DecodeRequest) -> bool:
    """Whether the end of a segment may be half a word, since its window was cut in speech."""
    window = request.window
    return request.is_cut and window.point_of(segment.end_ms) > window.duration_ms - _NEAR_CUT_MS


def _beyond_cut(result: WindowResult, looped: bool) -> DecodeAgain | None:
    """Go on behind the last segment before a cut, as openai/whisper does behind every window, if
    that is in the window's second half: from further back, windows would hardly get on."""
    request, window = result.request, result.request.window
    told = tuple(takewhile(lambda one: not reaches_cut(one, request), result.closed))
    if not request.is_cut or looped or result.ended == "limit" or is_silence(result) or not told:
        return None
    end = window.point_of(told[-1].end_ms)
    if end < window.duration_ms // 2:
        return None
    rest = replace(request, window=window.after(end), is_rest=False)
    return DecodeAgain(told, rest, "cut_in_speech")


def _told_tail(result: WindowResult, looped: bool) -> tuple[Segment, ...]:
    """What is told behind the last closed segment: of a loop that nothing helped against, once what
    it repeats."""
    if result.tail is None or not looped:
        return (result.tail,) if result.tail else ()
    once = _LOOP.sub(r"\1", result.tail.text)
    return (replace(result.tail, text=once, tokens=(), logprobs=()),)


def _again(result: WindowResult, looped: bool) -> DecodeAgain | None:
    request, window = result.request, result.request.window
    if is_silence(result):
        if request.prompted and _is_unheard(request, 0):
            return DecodeAgain((), _unprompted(request), "silence_after_prompt")
        return None
    begun = window.point_of(result.closed[-1].end_ms) if result.closed else 0
    if looped:
        reason: Literal["limit", "repetition", "ended_early"] = "repetition"
    elif result.ended == "limit":
        reason = "limit"
    elif result.tail is None and _is_unheard(request, begun):
        reason = "ended_early"
    else:
        return None
    if window.duration_ms - begun < _LEAST_REST_MS:
        return None  # too little to hear
    if begun or request.prompted:
        cold = 0.0 if request.fallback else request.temperature
        rest = replace(
            _unprompted(request), window=window.after(begun), temperature=cold, is_rest=begun > 0
        )
        return DecodeAgain(result.closed, rest, reason, None if looped else result.tail)
    if not looped:
        return None  # the same request once more would end as this one
    return _in_halves(request) or _warmer(request)


def _in_halves(request: DecodeRequest) -> DecodeAgain | None:
    """Decode the halves of a window, each by itself: what a decoder repeats itself in is long, and
    most of it is right when it is heard apart."""
    window = request.window
    if window.duration_ms < _LEAST_HALVED_MS:
        return None
    middle = window.middle()
    first = replace(request, window=window.before(middle), is_cut=False)
    second = replace(request, window=window.after(middle))
    return DecodeAgain((), first, "repetition", then=second)


def _warmer(request: DecodeRequest) -> DecodeAgain | None:
    """Decode at the next temperature (openai/whisper `transcribe.py`)."""
    if not request.fallback or request.temperature >= 1:
        return None
    warmer = round(request.temperature + _WARMER, 1)
    return DecodeAgain((), replace(request, temperature=warmer), "repetition")


def _is_unheard(request: DecodeRequest, begun: int) -> bool:
    """Whether the decoder has ended before the speech has. Where nobody looked for speech, only a
    prompted one is doubted: what sounds may be no speech."""
    if request.window.speech is None:
        return request.prompted and request.window.is_heard_after(begun)
    return request.window.speech_ms_after(begun) >= LEAST_SPEECH_MS


def in_language(result: WindowResult, language: str) -> DecodeAgain:
    """Decode a window in another language than the model hears, before any of it is told."""
    return DecodeAgain((), replace(result.request, languages=(language,)), "language")


def _unprompted(request: DecodeRequest) -> DecodeRequest:
    return replace(request, prompt="", keywords=())
