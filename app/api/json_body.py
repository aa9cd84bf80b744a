"""Bodies in JSON, bounded, and checked against what they are to say."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from app.errors import BadBody, BadField
from app.json_text import read_json_text

_LONGEST_BODY = 2**20
T = TypeVar("T", bound=BaseModel)


async def read_json(request: Request, kind: type[T], empty: T | None = None) -> T:
    """Read the request's JSON, after the key was checked. Raises BadBody, BadField."""
    read = bytearray()
    try:
        async for chunk in request.stream():
            read += chunk
            if len(read) > _LONGEST_BODY:
                raise BadBody(f"The body is longer than {_LONGEST_BODY} bytes.")
    except ClientDisconnect as error:  # nobody is there to read it
        raise BadBody("The body ended too soon.") from error
    if not read and empty is not None:
        return empty
    try:
        content = read_json_text(read)
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}.") from error
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        what = fault["msg"].removeprefix("Value error, ")
        raise BadField(f"{where}: {what}" if where else what, param=where or None) from error
