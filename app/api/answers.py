"""A transcript as the answer that a form asks for."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.api.events import DONE, Event
from app.api.forms import SpeechForm, TranscriptionForm
from app.models.base import Segment
from app.settings import Settings
from app.transcription.cues import Layout
from app.transcription.formats import (
    delta_event,
    done_event,
    json_body,
    segment_event,
    text_body,
    verbose_body,
    verbose_done_event,
)
from app.transcription.results import Joiner, Transcript
from app.transcription.subtitles import srt, vtt


async def told_events(
    events: AsyncGenerator[Segment | Transcript], form: SpeechForm
) -> AsyncGenerator[Event]:
    """Yield a transcription's events as a stream tells them."""
    joiner, number = Joiner(), 0
    logprobs, words = wants_logprobs(form), wants_words(form)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Segment):
                yield delta_event(joiner.add(event.text), event, logprobs=logprobs)
                yield segment_event(number, event, words=words)
                number += 1
            elif form.response_format == "verbose_json":
                yield verbose_done_event(event, logprobs=logprobs, words=words)
            else:
                yield done_event(event, logprobs=logprobs)
    yield DONE


def layout_of(form: SpeechForm, settings: Settings) -> Layout:
    """Lines as a request asks for them, else cues as the service's settings have them."""
    if form.max_line_width:
        return Layout(form.max_line_width, form.max_line_count)
    return Layout(is_for_readers=settings.subtitle_cues == "readable")


def body_of(form: SpeechForm, transcript: Transcript, layout: Layout) -> Response:
    """Return a transcript in the format that a form asks for."""
    logprobs = wants_logprobs(form)
    match form.response_format:
        case "json":
            return JSONResponse(json_body(transcript, logprobs=logprobs))
        case "verbose_json":
            words = wants_words(form)
            return JSONResponse(verbose_body(transcript, logprobs=logprobs, words=words))
        case "text":
            return PlainTextResponse(text_body(transcript))
        case "srt":
            return PlainTextResponse(srt(transcript.segments, layout))
        case "vtt":
            return PlainTextResponse(vtt(transcript.segments, layout), media_type="text/vtt")


def wants_logprobs(form: SpeechForm) -> bool:
    return isinstance(form, TranscriptionForm) and "logprobs" in form.include


def wants_words(form: SpeechForm) -> bool:
    return "word" in form.timestamp_granularities
