"""Authentication by keys as OpenAI's clients send them, `Authorization: Bearer KEY`, and as those
of Azure (`api-key`) and of others do (`x-api-key`).

Keys are checked before a body is read.
"""

import hmac
from base64 import b64decode
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import (
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBearer,
)
from pydantic import SecretStr

from app.api.context import Ctx
from app.errors import AdminClosed, WrongKey

_OTHER_HEADERS = ("api-key", "x-api-key")


class _Key(HTTPBearer):
    """Reads a client's key from the header that it has it in."""

    async def __call__(self, request: Request) -> HTTPAuthorizationCredentials | None:
        if bearer := await super().__call__(request):
            return bearer
        given = next(filter(None, map(request.headers.get, _OTHER_HEADERS)), None)
        return HTTPAuthorizationCredentials(scheme="Bearer", credentials=given) if given else None


_bearer = _Key(
    auto_error=False,
    scheme_name="key",
    description="One of MARLINSCRIBE_API_KEYS; anything, or nothing, where none are set. It may be "
    "in the header `api-key` or `x-api-key` instead.",
)
_admin_bearer = HTTPBearer(
    auto_error=False, scheme_name="admin key", description="MARLINSCRIBE_ADMIN_KEY."
)


class _Password(HTTPBasic):
    """Reads a password of HTTP Basic. FastAPI's class answers what it cannot decode by itself, and
    decodes ASCII alone."""

    async def __call__(self, request: Request) -> str | None:  # type: ignore[override]
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            _, _, password = b64decode(given).decode().partition(":")
        except ValueError:
            return ""
        return password


_basic = _Password(
    auto_error=False, scheme_name="admin password", description="Any name, and the admin key."
)

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
AdminCredentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_admin_bearer)]
Password = Annotated[str | None, Depends(_basic)]


async def require_key(context: Ctx, credentials: Credentials) -> None:
    """Check a client's key, or the admin key. Raises WrongKey."""
    settings = context.settings
    if settings.api_keys:
        admin = (settings.admin_key,) if settings.admin_key else ()
        _check(credentials, (*settings.api_keys, *admin))


async def require_admin_key(context: Ctx, credentials: AdminCredentials) -> None:
    """Check the admin key. Raises WrongKey, or AdminClosed where no admin key is set."""
    if context.settings.admin_key is None:
        raise AdminClosed("Admin routes are closed: MARLINSCRIBE_ADMIN_KEY is not set.")
    _check(credentials, (context.settings.admin_key,))


async def require_admin_key_or_password(
    context: Ctx, credentials: AdminCredentials, password: Password
) -> None:
    """Check the admin key, which a browser may give as a password. Only for routes that change
    nothing: a browser sends a password along from other sites too. Raises as require_admin_key."""
    if password is not None:
        credentials = HTTPAuthorizationCredentials(scheme="Basic", credentials=password)
    try:
        await require_admin_key(context, credentials)
    except WrongKey as error:
        error.challenge = 'Basic realm="marlinscribe"'
        raise


def _check(credentials: HTTPAuthorizationCredentials | None, keys: Iterable[SecretStr]) -> None:
    if credentials is None:
        raise WrongKey("A key is required: send it as 'Authorization: Bearer KEY'.")
    given = credentials.credentials.encode()
    # Every key is compared, each in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(given, key.get_secret_value().encode()) for key in keys]
    if not any(matches):
        raise WrongKey("The key is not known to this server.")
