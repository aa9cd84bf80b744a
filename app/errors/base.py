"""The root of the tree of errors, and the envelope."""

from math import ceil
from typing import Any, ClassVar

LONGEST_RETRY = 60  # seconds: told of more, OpenAI's SDK for JavaScript comes back within 8


def whole_seconds(wait: float) -> int:
    """Round a wait up to whole seconds, as Retry-After has them: 1 to LONGEST_RETRY."""
    return max(1, min(LONGEST_RETRY, ceil(wait)))


class MarlinscribeError(Exception):
    """The service failed: a defect, whose traceback is in the log under the answer's x-request-id.

    status, code: what a client sees; message: for people; retry_after: seconds, where trying
    again is worth it.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    kind: ClassVar[str] = "server_error"
    retry_after: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


def envelope(
    message: str, *, kind: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
