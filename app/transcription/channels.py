"""The channels of a recording, each transcribed by itself and told together, by time."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from app.models.base import Segment
from app.transcription.coalescing import Event, InFlightWork
from app.transcription.coverage import Coverage
from app.transcription.results import Transcript, join


async def merged(channels: Sequence[AsyncGenerator[Event]]) -> AsyncGenerator[Event]:
    """Yield the segments of all channels, each with its channel's number, by when they start; then
    one Transcript. All are decoded together. Raises what a channel raises."""
    works = [InFlightWork(events) for events in channels]
    told = [work.follow() for work in works]
    order = list[int]()
    try:
        heads = [await anext(events) for events in told]
        while (number := _earliest(heads)) is not None:
            segment = heads[number]
            assert isinstance(segment, Segment)
            order.append(number)
            yield replace(segment, channel=number)
            heads[number] = await anext(told[number])
        yield _together([one for one in heads if isinstance(one, Transcript)], order)
    finally:
        for events, work in zip(told, works, strict=True):
            await events.aclose()
            await work.stop()


def _earliest(heads: Sequence[Event]) -> int | None:
    """Return the channel whose next segment starts first; None where all have ended."""
    begun = [(one.start_ms, number) for number, one in enumerate(heads) if isinstance(one, Segment)]
    return min(begun)[1] if begun else None


def _together(channels: Sequence[Transcript], order: Sequence[int]) -> Transcript:
    """Return the transcript of all channels, whose segments were told in this order of channels.
    Its language is that of the channel that says most."""
    left = [iter(one.segments) for one in channels]
    segments = [replace(next(left[number]), channel=number) for number in order]
    found = [one.coverage for one in channels if one.coverage]
    return replace(
        max(channels, key=lambda one: len(one.text)),
        text=join(segment.text for segment in segments),
        segments=tuple(segments),
        coverage=_summed(found) if found else None,
    )


def _summed(channels: Sequence[Coverage]) -> Coverage:
    return Coverage(
        sum(one.speech_ms for one in channels),
        sum(one.again_ms for one in channels),
        tuple(
            replace(dropped, channel=number)
            for number, one in enumerate(channels)
            for dropped in one.dropped
        ),
    )
