"""POST /v1/audio/transcriptions: parse, call, render."""

import asyncio
import threading
import time
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from app.api.context import Context, Ctx, Served
from app.api.disconnect import ClientLeft, unless_client_leaves
from app.asr.formats import json_body, text_body, verbose_body
from app.asr.languages import code_of
from app.asr.transcript import Finished, Options
from app.audio.decode import decode
from app.audio.waveform import Waveform
from app.errors import BadField

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody is there to read it


@router.post("/transcriptions", response_model=None)
async def transcriptions(
    request: Request,
    context: Ctx,
    file: Annotated[UploadFile, File(description="wav, mp3, flac, m4a, ogg, opus, webm, …")],
    model: Annotated[str | None, Form()] = None,
    language: Annotated[
        str | None, Form(description="ISO code or name; detected if absent")
    ] = None,
    response_format: Annotated[Literal["json", "text", "verbose_json"], Form()] = "json",
) -> Response:
    """Turn a recording into text."""
    served = context.ready()
    context.check_model(served, model or None)
    options = Options(language=_language(served, language))
    try:
        transcript = await unless_client_leaves(
            request, _transcribe(context, served, file, options)
        )
    except ClientLeft:
        context.metrics.aborted.inc()
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    match response_format:
        case "json":
            return JSONResponse(json_body(transcript))
        case "verbose_json":
            return JSONResponse(verbose_body(transcript))
        case "text":
            return PlainTextResponse(text_body(transcript))


def _language(served: Served, asked: str | None) -> str | None:
    """The ISO code asked for, or None. Raises BadField."""
    if not asked:
        return None
    code, known = code_of(asked), served.transcriber.languages()
    if code is None:
        raise BadField(
            f"{asked!r} is not a language Whisper knows: give an ISO 639-1 code such as 'zh'.",
            param="language",
        )
    if code not in known:
        names = ", ".join(sorted(known)[:12])
        raise BadField(
            f"This checkpoint does not know {asked!r}; it knows {names}.", param="language"
        )
    return code


async def _transcribe(
    context: Context, served: Served, file: UploadFile, options: Options
) -> Finished:
    started = time.perf_counter()
    wave = await _decode(context, file)
    context.metrics.decode.observe(time.perf_counter() - started)

    first = True

    def on_token() -> None:
        nonlocal first
        if first:
            context.metrics.first_token.observe(time.perf_counter() - started)
            first = False

    events = served.transcriber.transcribe(wave, options, on_token)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                context.metrics.audio_seconds.inc(event.duration_s)
                context.metrics.rtfx.observe(event.duration_s / (time.perf_counter() - started))
                return event
    raise AssertionError("a transcriber ends with Finished")


async def _decode(context: Context, file: UploadFile) -> Waveform:
    """In a thread, a few at a time; a client that leaves stops it at the next frame."""
    cancelled = threading.Event()

    limit = context.settings.max_audio_seconds
    async with context.decodes:
        try:
            return await asyncio.to_thread(
                decode, file.file, max_seconds=limit, cancelled=cancelled
            )
        finally:
            cancelled.set()
