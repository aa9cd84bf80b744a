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
    JsonBody,
    VerboseBody,
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
    """Return a transcript as the answer in the format that a form asks for."""
    content = content_of(form, transcript, layout)
    if not isinstance(content, str):
        return JSONResponse(content)
    is_vtt = form.response_format == "vtt"
    return PlainTextResponse(content, media_type="text/vtt" if is_vtt else None)


def content_of(
    form: SpeechForm, transcript: Transcript, layout: Layout
) -> JsonBody | VerboseBody | str:
    """Return a transcript in the format that a form asks for."""
    logprobs = wants_logprobs(form)
    match form.response_format:
        case "json":
            return json_body(transcript, logprobs=logprobs)
        case "verbose_json":
            return verbose_body(transcript, logprobs=logprobs, words=wants_words(form))
        case "text":
            return text_body(transcript)
        case "srt":
            return srt(transcript.segments, layout)
        case "vtt":
            return vtt(transcript.segments, layout)


def wants_logprobs(form: SpeechForm) -> bool:
    return isinstance(form, TranscriptionForm) and "logprobs" in form.include


def wants_words(form: SpeechForm) -> bool:
    return "word" in form.timestamp_granularities
