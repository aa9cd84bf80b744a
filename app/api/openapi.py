"""The description of the service in /openapi.json, for routes whose bodies FastAPI does not parse.

The request's schema comes from the form that checks it, the answers' from the types that the
renderers fill, so that neither can say what the service does not do.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from app.api.events import DONE
from app.api.forms import LISTS, SpeechForm, TranscriptionForm
from app.transcription.formats import (
    DeltaEvent,
    DoneEvent,
    JsonBody,
    SegmentEventBody,
    VerboseBody,
    VerboseDoneEvent,
)


class ErrorFields(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    error: ErrorFields


_REF = "#/components/schemas/{model}"
_KEYS: list[dict[str, list[str]]] = [
    {"key": []}
]  # the clients'; an admin's are asked for whatever the settings say
_BODY_PARTS: dict[str, Any] = {}

_EVENTS = TypeAdapter(
    DeltaEvent | SegmentEventBody | DoneEvent | VerboseDoneEvent | ErrorBody
).json_schema(ref_template=_REF)
_EVENT_PARTS = _EVENTS.pop("$defs")

_RETRY = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

SERVED_MODEL = "x-marlinscribe-model"
_SERVED = {
    SERVED_MODEL: {
        "description": "The served model that heard it, whatever name was asked for; escaped as in "
        "a URL.",
        "schema": {"type": "string"},
    }
}

_ERRORS: dict[int, dict[str, Any]] = {
    400: {"description": "A bad or missing field, or audio that cannot be decoded"},
    401: {"description": "No key, or one that is not known"},
    403: {"description": "No admin key is set on this server"},
    404: {"description": "No such model, or no such job"},
    409: {"description": "What is asked does not go with how things stand"},
    408: {"description": "The body stopped coming"},
    413: {"description": "Too many bytes, or too many seconds of audio"},
    415: {"description": "The file is not audio"},
    431: {"description": "The query and the headers have over 64 kB"},
    429: {"description": "Too many requests under way, or jobs waiting", "headers": _RETRY},
    500: {"description": "A defect of the server"},
    503: {
        "description": "Starting, too much audio waits, or the engine is gone",
        "headers": _RETRY,
    },
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for these statuses, each with the envelope."""
    return {status: {"model": ErrorBody, **_ERRORS[status]} for status in statuses}


def event_stream(data: str, **of_it: Any) -> dict[str, Any]:
    """Return the `content` of a stream, described by one event as OpenAPI 3.2 does: its data is
    JSON, or the word that ends the stream."""
    told = {"type": "string", "description": data, "contentMediaType": "application/json"}
    described = {"anyOf": [told | of_it, {"type": "string", "const": DONE}]}
    event = {"type": "object", "required": ["data"], "properties": {"data": described}}
    return {"text/event-stream": {"itemSchema": event}}


def speech_route(form: type[SpeechForm], job: Any = None) -> dict[str, Any]:
    """Return arguments for the decorator of a route that answers a form with a transcript, or with
    the body of a `job` where the form asks for one."""
    stream = event_stream("An event's JSON, or an error's envelope.", contentSchema=_EVENTS)
    route = _recording_route(
        {"requestBody": {"required": True, "content": _form(form, "file") | _json(form)}},
        "By response_format: json, verbose_json, text and srt, vtt; or the stream",
        JsonBody | VerboseBody,
        **_texts("text/plain", "text/vtt"),
        **stream,
    )
    if job:
        accepted = {"model": job, "description": "A job, where `background` asks for one"}
        route["responses"][202] = accepted
    return route


def form_route(form: type[BaseModel], answer: Any) -> dict[str, Any]:
    """Return arguments for the decorator of a route that takes a form with a recording and answers
    with JSON or text."""
    asked = {"requestBody": {"required": True, "content": _form(form, "file")}}
    texts = _texts("text/plain", "text/vtt", "application/x-subrip")
    return _recording_route(asked, "By response_format", answer, **texts)


def query_route(query: type[BaseModel], field: str, answer: Any = None) -> dict[str, Any]:
    """Return arguments for the decorator of a route that is asked by its query, with a recording in
    a form's `field`; without an `answer` it answers with text."""
    described = query.model_json_schema(ref_template=_REF)["properties"]
    parameters = [
        {"name": name, "in": "query", "description": schema["description"],
         "schema": _without_null({k: v for k, v in schema.items() if k != "description"})}
        for name, schema in described.items()
    ]  # fmt: skip
    asked = {
        "parameters": parameters,
        "requestBody": {"required": True, "content": _form(None, field)},
    }
    texts = {} if answer else _texts("text/plain")
    route = _recording_route(asked, "As the query asks for it", answer, **texts)
    route["responses"] |= errors(431)
    return route


def _recording_route(
    asked: dict[str, Any], description: str, answer: Any, **others: Any
) -> dict[str, Any]:
    """others: what it may answer beside JSON, by its media type."""
    answers = {"description": description, "headers": _SERVED, "content": others}
    if answer:
        answers["model"] = answer
    return {
        "response_model": None,
        "responses": {200: answers} | errors(400, 401, 404, 408, 413, 415, 429, 500, 503),
        "openapi_extra": asked,
    }


def _texts(*kinds: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string"}} for kind in kinds}


def json_request(body: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return `openapi_extra` of a route that reads its JSON itself."""
    schema = body.model_json_schema(ref_template=_REF)
    _BODY_PARTS.update(schema.pop("$defs", {}))
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }


def multipart(properties: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` of a route that reads a form itself, all of whose fields it needs."""
    schema = {"type": "object", "required": list(properties), "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def result_parameters(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return query parameters that are fields of the transcription's form."""
    fields = TranscriptionForm.model_json_schema(ref_template=_REF)["properties"]
    return [
        {
            "name": f"{name}[]" if name in LISTS else name,
            "in": "query",
            "required": False,
            "description": fields[name].get("description", ""),
            "schema": _without_null(fields[name]),
        }
        for name in names
    ]


_RECORDING = {
    "type": "string",
    "format": "binary",
    "description": "wav, mp3, flac, m4a, mp4, ogg, opus, webm and whatever else FFmpeg reads.",
}
_INPUT_AUDIO = {
    "type": "object",
    "required": ["data"],
    "description": "The recording, in base64; what `format` says is not needed.",
    "properties": {
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": {"type": ["string", "null"]},
    },
}


def _form(form: type[BaseModel] | None, recording: str) -> dict[str, Any]:
    properties = {recording: _RECORDING} | {
        f"{name}[]" if name in LISTS else name: _without_null(field)
        for name, field in (_fields(form) if form else {}).items()
    }
    schema = {"type": "object", "required": [recording], "properties": properties}
    return {"multipart/form-data": {"schema": schema}}


def _json(form: type[BaseModel]) -> dict[str, Any]:
    """A form's fields in JSON, where each may be null too."""
    properties = {"input_audio": _INPUT_AUDIO} | {
        name: _with_null(field) for name, field in _fields(form).items()
    }
    schema = {"type": "object", "required": ["input_audio"], "properties": properties}
    return {"application/json": {"schema": schema}}


def _fields(form: type[BaseModel]) -> dict[str, Any]:
    described = form.model_json_schema(ref_template=_REF)
    _BODY_PARTS.update(described.get("$defs", {}))
    properties: dict[str, Any] = described["properties"]
    return properties


def _with_null(field: dict[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in field.get("anyOf", ()):
        return field
    about = ("description", "default", "examples")
    kind = {key: value for key, value in field.items() if key not in about}
    told = {key: value for key, value in field.items() if key in about}
    return told | {"anyOf": [kind, {"type": "null"}]}


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: a field is there or left out."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return field
    described = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return described | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def install(app: FastAPI, *, keys: bool) -> None:
    """Have the app describe itself: without FastAPI's 422, which the envelope's 400 replaces, and
    with clients' `keys` only where keys are set."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description,
                routes=app.routes, tags=app.openapi_tags,
            )  # fmt: skip
            schema["components"]["schemas"] |= _EVENT_PARTS | _BODY_PARTS
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    if not keys and operation.get("security") == _KEYS:
                        operation.pop("security")
                        operation["responses"].pop("401", None)
            if not keys:
                schema["components"]["securitySchemes"].pop("key")
            for name in ("HTTPValidationError", "ValidationError"):
                schema.get("components", {}).get("schemas", {}).pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
