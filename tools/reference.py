"""docs/reference.md, written from the code: settings, routes, fields, errors, metrics, commands.

    python -m tools.reference

A test fails where the committed page is not what this writes. Each description stands in the code:
the settings' in app/settings.py, an error's in its docstring in app/errors, a field's in
app/api/forms.py, a metric's in app/metrics.py, an option's in app/cli.py or
app/commands/server_arguments.py.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute
from pydantic.fields import FieldInfo

from app import cli, errors
from app.api import background, batches, files, health, models, quantize, transcriptions
from app.api.compat import asr_webservice, whisper_cpp
from app.api.forms import TranscriptionForm, TranslationForm
from app.api.openapi import speech_route
from app.background_settings import BackgroundSettings
from app.environment import DEMO
from app.errors import MarlinscribeError
from app.metrics import Metrics
from app.settings import Settings

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

_HEAD = """\
# Reference

Written by `make reference` from the code; a test fails where it is stale. Change the descriptions \
in app/settings.py, app/errors, app/api/forms.py, app/metrics.py, app/cli.py and \
app/commands/server_arguments.py, not here."""
_SETTINGS = "Variables of the environment."
_FIELDS = """\
Fields of the multipart form of `POST /v1/audio/transcriptions`; `POST /v1/audio/translations` \
takes those that are marked. A list may be sent as `include[]=…` or `include=…`, several times. \
Unknown fields are ignored, empty ones count as left out. In a JSON body they have JSON's types, \
and the recording is `input_audio`."""
_ERRORS = """\
Every error is OpenAI's envelope, `{"error": {"message", "type", "param", "code"}}`, and every \
answer has an `x-request-id`. Where trying again later helps there is a `Retry-After`. Once a \
stream has begun, an error is its last frame: `data: {"error": …}`. A path that does not exist \
is 404 `not_found`, a method that it does not have 405 `method_not_allowed`."""
_STARTUP = """\
Errors of a start, in the log and in `/health/ready`, and of a job, in its record, each with \
advice; no HTTP status of their own:"""
_METRICS = """\
Of `/metrics`, beside vLLM's `vllm:*` and the process's own. A histogram has `_bucket`, `_sum` and \
`_count`."""
_ROUTES = """\
`/docs` describes each with its schemas; `/openapi.json` is the same for programs. HEAD is \
answered where GET is. Aliases: `/health` is `/health/ready`, `/models` is `/v1/models`, \
`/audio/…` and `/openai/deployments/{model}/audio/…` are `/v1/audio/…`, \
`/openai/v1/…` is `/v1/…`."""


def written() -> str:
    """Return the whole page."""
    sections = {
        "Settings": [_SETTINGS, "", *_settings()],
        "Routes": [_ROUTES, "", *_routes()],
        "Form fields": [_FIELDS, "", *_fields()],
        "Errors": [_ERRORS, "", *_answers(), "", _STARTUP, "", *_startup_errors()],
        "Metrics": [_METRICS, "", *_metrics()],
        "Command line": [*_commands()],
    }
    lines = [_HEAD]
    for title, content in sections.items():
        lines += ["", f"## {title}", "", *content]
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _settings() -> Iterator[str]:
    schemas = Settings.model_json_schema()["properties"]
    prefix = Settings.model_config["env_prefix"]
    rows = (
        (
            f"`{prefix}{name.upper()}`",
            _values(schemas[name]),
            _default(field),
            str(field.description),
        )
        for name, field in sorted(Settings.model_fields.items(), key=_is_background)
    )
    return _table(("Variable", "Values", "Default", "What it does"), rows)


def _is_background(item: tuple[str, FieldInfo]) -> bool:
    """Whether a setting is of what stands last."""
    return item[0] in BackgroundSettings.model_fields


def _default(field: FieldInfo) -> str:
    """Return a default as an operator would write it, the same on every machine."""
    default = field.get_default(call_default_factory=True)
    if default is None or default == ():
        return "unset"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    text = f"{default:g}" if isinstance(default, float) else str(default)
    text = text.replace(sys.executable, "<this Python>").replace(sys.prefix, "<environment>")
    return f"`{text.replace(str(DEMO.parent), '').lstrip('/')}`"


_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}


def _values(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "anyOf" in schema:
        kinds = [_values(kind) for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(kinds)
    if "$ref" in schema:
        return "object"
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{value}`" for value in allowed)
    if schema.get("type") == "array":
        return f"list of {_values(schema['items'])}" if schema.get("items") else "list"
    return " ".join([_KINDS.get(schema.get("type", ""), "text"), *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    for name, sign in signs.items():
        if name in schema:
            yield f"{sign} {schema[name]:g}"


def _routes() -> Iterator[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        ours = (transcriptions, background, files, batches, models, health)
        for module in (*ours, asr_webservice, whisper_cpp, quantize):
            for route in module.router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    methods = ", ".join(sorted(route.methods))
                    path = route.path.replace(":path", "")
                    yield f"`{methods} {path}`", _meaning(route.endpoint)

    return _table(("Route", "What it does"), rows())


def _fields() -> Iterator[str]:
    body = speech_route(TranscriptionForm)["openapi_extra"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]

    def rows() -> Iterator[tuple[str, ...]]:
        for name, field in schema["properties"].items():
            own = name.removesuffix("[]")
            shared = own == "file" or own in TranslationForm.model_fields
            default = "required" if name in schema["required"] else _sent(field.get("default"))
            values = "a recording" if own == "file" else _values(field)
            yield f"`{name}`", values, default, "yes" if shared else "", field["description"]

    return _table(("Field", "Values", "Default", "Translations", "What it does"), rows())


def _sent(default: Any) -> str:
    if default in (None, "", [], ()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _tree(root: type[MarlinscribeError]) -> Iterator[type[MarlinscribeError]]:
    """Yield app/errors' classes under `root`, itself first."""
    yield root
    for kind in root.__subclasses__():
        if kind.__module__.startswith(f"{errors.__name__}."):
            yield from _tree(kind)


def _answers() -> Iterator[str]:
    kinds = [*_tree(errors.RequestError), *_tree(errors.Unavailable)]
    kinds = [kind for kind in kinds if kind not in (errors.RequestError, errors.Unavailable)]
    kinds.append(MarlinscribeError)
    rows = (
        (str(kind.status), f"`{kind.code}`", f"`{kind.kind}`", _meaning(kind))
        for kind in sorted(kinds, key=lambda kind: kind.status)
    )
    return _table(("Status", "`code`", "`type`", "Meaning"), rows)


def _startup_errors() -> Iterator[str]:
    rows = ((f"`{kind.code}`", _meaning(kind)) for kind in _tree(errors.StartupError))
    return _table(("`code`", "Meaning"), rows)


def _meaning(described: Any) -> str:
    """Return the first paragraph of a docstring; of an error without one, its line in the tree.

    Raises ValueError where there is neither.
    """
    own = vars(described).get("__doc__") if inspect.isclass(described) else described.__doc__
    own = own or _drawn(described.__name__)
    if not own:
        raise ValueError(f"{described.__name__} has no docstring")
    # A code block behind the first sentence belongs to /docs.
    paragraph = inspect.cleandoc(own).split("\n\n")[0].split(":\n`")[0]
    return " ".join(paragraph.split()).rstrip(".") + "."


def _drawn(name: str) -> str:
    """Return what the tree in app/errors says of an error, or "" where it says nothing."""
    line = re.search(rf"─ {name} +(?:\d{{3}} +)?(\S.*)$", str(errors.__doc__), re.MULTILINE)
    return line[1][:1].upper() + line[1][1:] if line else ""


def _all_metrics() -> Iterator[Any]:
    metrics = Metrics()
    yield from vars(metrics).values()
    yield from vars(metrics.background).values()


def _metrics() -> Iterator[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        for metric in _all_metrics():
            for family in metric.describe() if hasattr(metric, "describe") else ():
                name = family.name + ("_total" if family.type == "counter" else "")
                labels = ", ".join(metric._labelnames)
                yield f"`{name}`", family.type, labels, family.documentation

    return _table(("Metric", "Type", "Labels", "What it is"), rows())


def _commands() -> Iterator[str]:
    commands = _subcommands(cli.parser())
    for action in commands._choices_actions:
        parser = commands.choices[action.dest]
        yield from [f"### marlinscribe {action.dest}", "", _sentence(str(action.help)), ""]
        options = [one for one in parser._actions if one.dest != "help"]
        if options:
            yield from [*_table(("Argument", "Values", "What it does"), map(_option, options)), ""]


def _subcommands(parser: argparse.ArgumentParser) -> "argparse._SubParsersAction[Any]":
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action
    raise AssertionError("the command line has commands")


def _option(action: argparse.Action) -> tuple[str, str, str]:
    name = action.option_strings[0] if action.option_strings else ""
    value = action.metavar or ("" if action.choices else action.dest.upper())
    takes_value = action.nargs != 0
    allowed = ", ".join(f"`{one}`" for one in action.choices or ())
    shown = f"`{name} {value}`" if name and takes_value and value else f"`{name or value}`"
    help = (action.help or "") % {"default": action.default}
    return shown, allowed, _sentence(help)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")
