"""POST /v1/audio/transcriptions and /translations: parse, call, render."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from app.api.context import Context, Ctx, Served
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.api.events import DONE, Event, EventStream
from app.api.forms import SpeechForm, TranscriptionForm, TranslationForm, parse
from app.api.openapi import speech_route
from app.api.security import require_key
from app.api.uploads import read_upload
from app.asr.formats import (
    delta_event,
    done_event,
    json_body,
    segment_event,
    text_body,
    verbose_body,
    verbose_done_event,
)
from app.asr.languages import code_of
from app.asr.subtitles import Layout, srt, vtt
from app.asr.transcript import Finished, Joiner, Options, SegmentEvent
from app.audio.decode import decode
from app.audio.waveform import Waveform
from app.errors import BadField

_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it


async def _admitted(context: Ctx) -> AsyncGenerator[Served]:
    """What serves, for one of the requests under way: from before its body is read until it is
    answered."""
    served = await context.admitted()
    context.enter()  # no await between: an exchange that begins now waits for this request
    try:
        yield served
    finally:
        context.leave()


Admitted = Annotated[Served, Depends(_admitted)]

# In this order, and both before the body is read: who asks, and whether we can and there is room.
router = APIRouter(
    prefix="/v1/audio", tags=["audio"], dependencies=[Depends(require_key), Depends(_admitted)]
)


@router.post("/transcriptions", **speech_route(TranscriptionForm))
async def transcriptions(request: Request, context: Ctx, served: Admitted) -> Response:
    """Turn a recording into text, in the language that is spoken:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/transcriptions`

    Where keys are set, add `-H "authorization: Bearer KEY"`. Lists may be sent as `include[]=…` or
    `include=…`. Fields that are not known are ignored.
    """
    return await _answer(request, context, served, TranscriptionForm)


@router.post("/translations", **speech_route(TranslationForm))
async def translations(request: Request, context: Ctx, served: Admitted) -> Response:
    """Turn a recording into English text, with a checkpoint that was trained to:
    `curl -F file=@mayday.mp3 http://localhost:8000/v1/audio/translations`
    """
    return await _answer(request, context, served, TranslationForm)


async def _answer(
    request: Request, context: Context, served: Served, kind: type[SpeechForm]
) -> Response:
    try:
        async with read_upload(request, context.settings) as upload:
            form = parse(kind, upload.fields)
            context.check_model(served, form.model)
            options = _options(served, form)
            started = time.perf_counter()
            wave = await unless_client_leaves(request.receive, _decode(context, upload.file))
        events = _events(context, served, wave, options, started)
        if form.stream:
            return EventStream(
                _told(events, form),
                heartbeat_seconds=context.settings.stream_heartbeat_seconds,
                on_abort=context.metrics.aborted.inc,
            )
        return _body(form, await unless_client_leaves(request.receive, _last(events)))
    except (ClientLeft, ClientDisconnect):
        context.metrics.aborted.inc()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


def _options(served: Served, form: SpeechForm) -> Options:
    if not isinstance(form, TranscriptionForm):
        return Options(translate=True, temperature=form.temperature, prompt=form.prompt)
    asked = (form.language,) if form.language else form.languages
    param = "language" if form.language else "languages"
    return Options(
        languages=tuple(dict.fromkeys(_language(served, name, param) for name in asked)),
        temperature=form.temperature,
        prompt=form.prompt,
        keywords=form.keywords,
        logprobs="logprobs" in form.include,
    )


def _language(served: Served, asked: str, param: str) -> str:
    """The ISO code asked for. Raises BadField."""
    code, known = code_of(asked), served.transcriber.languages()
    if code is None:
        raise BadField(
            f"{asked!r} is not a language Whisper knows: give an ISO 639-1 code such as 'zh'.",
            param=param,
        )
    if code not in known:
        names = ", ".join(sorted(known)[:12])
        raise BadField(f"This checkpoint does not know {asked!r}; it knows {names}.", param=param)
    return code


async def _decode(context: Context, file: BinaryIO) -> Waveform:
    """In a thread, a few at a time. A client that leaves stops it at the next frame; it is waited
    for, since the file is closed behind it."""
    cancelled = threading.Event()

    def work() -> Waveform:
        started = time.perf_counter()
        wave = decode(file, max_seconds=context.settings.max_audio_seconds, cancelled=cancelled)
        context.metrics.decode.observe(time.perf_counter() - started)
        return wave

    job = context.decoders.submit(work)
    done = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        cancelled.set()
        if not job.cancel():  # it runs
            with suppress(Exception):
                await done
        raise


async def _events(
    context: Context, served: Served, wave: Waveform, options: Options, started: float
) -> AsyncGenerator[SegmentEvent | Finished]:
    """The transcriber's, measured on their way."""
    metrics, first = context.metrics, True

    def on_token() -> None:
        nonlocal first
        if first:
            metrics.first_token.observe(time.perf_counter() - started)
            first = False

    async with aclosing(served.transcriber.transcribe(wave, options, on_token)) as events:
        async for event in events:
            if isinstance(event, Finished):
                metrics.audio_seconds.inc(event.duration_s)
                metrics.rtfx.observe(event.duration_s / (time.perf_counter() - started))
            yield event


async def _last(events: AsyncGenerator[SegmentEvent | Finished]) -> Finished:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                return event
    raise AssertionError("a transcriber ends with Finished")


async def _told(
    events: AsyncGenerator[SegmentEvent | Finished], form: SpeechForm
) -> AsyncGenerator[Event]:
    joiner, number, logprobs = Joiner(), 0, _wants_logprobs(form)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SegmentEvent):
                yield delta_event(joiner.add(event.text), event, logprobs=logprobs)
                yield segment_event(number, event)
                number += 1
            elif form.response_format == "verbose_json":
                yield verbose_done_event(event, logprobs=logprobs)
            else:
                yield done_event(event, logprobs=logprobs)
    yield DONE


def _body(form: SpeechForm, transcript: Finished) -> Response:
    layout, logprobs = Layout(form.max_line_width, form.max_line_count), _wants_logprobs(form)
    match form.response_format:
        case "json":
            return JSONResponse(json_body(transcript, logprobs=logprobs))
        case "verbose_json":
            return JSONResponse(verbose_body(transcript, logprobs=logprobs))
        case "text":
            return PlainTextResponse(text_body(transcript))
        case "srt":
            return PlainTextResponse(srt(transcript.segments, layout))
        case "vtt":
            return PlainTextResponse(vtt(transcript.segments, layout), media_type="text/vtt")


def _wants_logprobs(form: SpeechForm) -> bool:
    return isinstance(form, TranscriptionForm) and "logprobs" in form.include
