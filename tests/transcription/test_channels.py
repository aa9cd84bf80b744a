"""Channels that are transcribed by themselves, and told together."""

import asyncio

import pytest

from app.errors import EngineDied
from app.models.base import Segment
from app.transcription.channels import merged
from app.transcription.coverage import Coverage, DroppedSpeech
from app.transcription.cues import Layout, cues
from app.transcription.results import Transcript, join

pytestmark = pytest.mark.anyio

COVERAGE = Coverage(900, 100, (DroppedSpeech(0, 100, "no_speech"),))


async def channel(*segments, language="en", delays=(), error=None):
    for number, segment in enumerate(segments):
        await asyncio.sleep(delays[number] if delays else 0)
        yield segment
    if error:
        raise error
    text = join(segment.text for segment in segments)
    yield Transcript(language, 9.0, text, segments, coverage=COVERAGE)


def said(start_ms, text):
    return Segment(start_ms, start_ms + 500, text)


async def told(*channels):
    return [event async for event in merged(channels)]


async def test_segments_come_by_when_they_start_and_say_their_channel():
    late = channel(said(0, " Hello."), said(2000, " Bye."), delays=(0.02, 0))
    *segments, transcript = await told(late, channel(said(1000, " Who is it?")))
    assert [(one.channel, one.text) for one in segments] == [
        (0, " Hello."), (1, " Who is it?"), (0, " Bye."),
    ]  # fmt: skip
    assert transcript.segments == tuple(segments)
    assert transcript.text == "Hello. Who is it? Bye."


async def test_joined_deltas_are_the_text_where_a_channel_goes_back_in_time():
    back = channel(said(2000, " Two."), said(0, " Zero."))
    *segments, transcript = await told(back, channel(said(1000, " One.")))
    assert join(one.text for one in segments) == transcript.text


async def test_the_language_is_the_one_of_the_channel_that_says_most():
    some = channel(said(0, " Oui."), language="fr")
    *_, transcript = await told(some, channel(said(0, " A great deal."), language="en"))
    assert transcript.language == "en"


async def test_what_became_of_the_speech_is_told_of_all_channels():
    *_, transcript = await told(channel(), channel())
    assert transcript.coverage.speech_ms == 1800
    assert transcript.coverage.again_ms == 200
    assert [one.channel for one in transcript.coverage.dropped] == [0, 1]


async def test_an_error_of_one_channel_is_the_recordings():
    with pytest.raises(EngineDied):
        await told(channel(said(0, " A.")), channel(error=EngineDied("gone")))


async def test_channels_have_cues_of_their_own():
    long = Segment(0, 9000, " " + "word " * 40, channel=0)
    found = list(cues([long, Segment(1000, 1500, " Yes.", channel=1)], Layout(None, None, True)))
    assert [cue.start_ms for cue in found] == sorted(cue.start_ms for cue in found)
    assert any(cue.lines == ("Yes.",) for cue in found)
