"""From what was sent, as a form or as JSON, to a form that is checked."""

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.api.forms import LISTS
from app.errors import BadField

_LONGEST_NAME = 100  # characters of a field that none has
_SPELLING = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]*)\])?")

F = TypeVar("F", bound=BaseModel)


def parse(form: type[F], items: Iterable[tuple[str, str]]) -> F:
    """Check a form's items, in every spelling that clients use, against `form`.

    Empty fields count as left out; of a field that is sent twice the last counts. Raises BadField.
    """
    values = _values(form, items)
    with _named():
        return form.model_validate(values)


def parse_json(form: type[F], values: Mapping[str, Any]) -> F:
    """Check values as JSON has them against `form`: a number is none where it is sent as a text.
    Empty texts count as left out. Raises BadField."""
    sent = {name: value for name, value in values.items() if value != ""}
    with _named():
        return form.model_validate_json(json.dumps(sent), strict=True)


@contextmanager
def _named() -> Generator[None]:
    """Translate pydantic's error to one that names the field. Raises BadField."""
    try:
        yield
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        # A fault of fields together has no place of its own: it names one.
        name, *within = fault["loc"] or (fault.get("ctx", {}).get("field"),)
        place = "".join(f"[{key}]" for key in within if isinstance(key, str))
        raise BadField(
            f"The field '{name}{place}' is not valid: {fault['msg']}.", param=str(name)
        ) from error


def _values(form: type[BaseModel], items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a form's items by field: a text, a list of them, or for x[key] an object. Raises
    BadField."""
    values: dict[str, Any] = {}
    objects: dict[str, dict[str, str]] = {}
    for sent, value in items:
        spelling = _SPELLING.fullmatch(sent)
        if spelling is None or value == "":
            continue
        name, key = spelling["name"], spelling["key"]
        if name in LISTS:
            values.setdefault(name, []).append(value)
        elif not key:
            values[name] = value
        else:
            objects.setdefault(name, {})[key] = value
    for name in objects:
        if name in values and name in form.model_fields:
            raise BadField(f"The field {name!r} is sent both whole and in parts.", param=name)
    return objects | values


def form_fields(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a JSON body as a form has them. Raises BadField."""
    for name, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, _text(name, one)


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | dict):
        return json.dumps(value)
    raise BadField(f"The field {name[:_LONGEST_NAME]!r} is not valid.", param=name[:_LONGEST_NAME])
