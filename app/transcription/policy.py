"""What is done with a decoded window: its segments are accepted, it is decoded again, or it is
dropped, each for a reason.

Pure functions over a WindowResult. `transcription/windows.py` carries out what they say.
"""

from dataclasses import dataclass, replace
from typing import Literal

from app.models.base import DecodeRequest, Segment, WindowResult

# openai/whisper `transcribe.py`: silence is what the model calls silence and is unsure about.
NO_SPEECH_PROB = 0.6
NO_SPEECH_LOGPROB = -1.0
# Ibid.: text that zlib shrinks this much repeats itself.
COMPRESSION_RATIO = 2.4
# A model that runs out of room says more than is spoken (a loop) oftener than it has more to say.
MOST_PASSES = 4
_LEAST_REST_MS = 500  # less than this behind the last closed segment is not worth a pass


@dataclass(frozen=True)
class Accept:
    """Tell these segments: the window is done."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class DecodeAgain:
    """Tell these segments, and decode what lies behind them by another request. tail: text that
    was begun behind them, told after all where the next pass finds nothing there."""

    segments: tuple[Segment, ...]
    request: DecodeRequest
    reason: Literal["limit", "repetition", "ended_early", "silence_after_prompt"]
    tail: Segment | None = None


@dataclass(frozen=True)
class Drop:
    """Tell nothing of the window."""

    reason: Literal["no_speech"]
    segments: tuple[Segment, ...] = ()


Verdict = Accept | DecodeAgain | Drop


def may_be_silence(result: WindowResult) -> bool:
    """Whether the window may turn out to be silence, so that none of its segments is told yet."""
    return result.detection.no_speech_prob > NO_SPEECH_PROB


def is_silence(result: WindowResult) -> bool:
    """Whether a decoded window holds no speech."""
    return may_be_silence(result) and result.figures.avg_logprob < NO_SPEECH_LOGPROB


def repeats(result: WindowResult) -> bool:
    """Whether a prompted decoder has begun to repeat itself, as prompts make decoders do."""
    return result.request.prompted and result.figures.compression_ratio > COMPRESSION_RATIO


def judge(result: WindowResult, *, looped: bool = False, last: bool = False) -> Verdict:
    """What becomes of a window that was decoded to its end, or that `looped` and was broken off:
    then only what had closed before is believed. `last`: it is not decoded again.

    A window is decoded again behind its last closed segment where the decoder ran out of room, so
    that nothing said is lost; and where a prompted decoder repeats itself, or ends while there is
    still something to be heard. That pass has no prompt: it takes room, and may be why.
    """
    again = None if last else _again(result, looped)
    if again:
        return again
    if is_silence(result):
        return Drop("no_speech")
    tail = () if looped or result.tail is None else (result.tail,)
    return Accept((*result.closed, *tail))


def _again(result: WindowResult, looped: bool) -> DecodeAgain | None:
    request, window = result.request, result.request.window
    if is_silence(result):
        if request.prompted and window.is_heard_after(0):
            return DecodeAgain((), _unprompted(request), "silence_after_prompt")
        return None
    begun = result.closed[-1].end_ms - window.start_ms if result.closed else 0
    if looped:
        reason: Literal["limit", "repetition", "ended_early"] = "repetition"
    elif result.ended == "limit":
        reason = "limit"
    elif request.prompted and result.tail is None and window.is_heard_after(begun):
        reason = "ended_early"
    else:
        return None
    unheard = window.duration_ms - begun
    if unheard < _LEAST_REST_MS or not (begun or request.prompted):
        return None  # too little to hear, or the same request again
    rest = replace(_unprompted(request), window=window.after(begun))
    return DecodeAgain(result.closed, rest, reason, None if looped else result.tail)


def _unprompted(request: DecodeRequest) -> DecodeRequest:
    return replace(request, prompt="", keywords=())
