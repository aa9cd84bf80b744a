"""Who may call: keys as OpenAI's clients send them, `Authorization: Bearer KEY`.

Checked before a body is read.
"""

import hmac
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from app.api.context import Ctx
from app.errors import AdminClosed, WrongKey

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="One of MARLINSCRIBE_API_KEYS; anything, or nothing, where none are set.",
)
_admin_bearer = HTTPBearer(
    auto_error=False, scheme_name="admin key", description="MARLINSCRIBE_ADMIN_KEY."
)

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
AdminCredentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_admin_bearer)]


async def require_key(context: Ctx, credentials: Credentials) -> None:
    """Raises WrongKey. The admin key opens these routes too."""
    settings = context.settings
    if settings.api_keys:
        admin = (settings.admin_key,) if settings.admin_key else ()
        _check(credentials, (*settings.api_keys, *admin))


async def require_admin_key(context: Ctx, credentials: AdminCredentials) -> None:
    """Raises WrongKey, or AdminClosed where no admin key is set."""
    if context.settings.admin_key is None:
        raise AdminClosed("Admin routes are closed: MARLINSCRIBE_ADMIN_KEY is not set.")
    _check(credentials, (context.settings.admin_key,))


def _check(credentials: HTTPAuthorizationCredentials | None, keys: Iterable[SecretStr]) -> None:
    if credentials is None:
        raise WrongKey("A key is required: send it as 'Authorization: Bearer KEY'.")
    given = credentials.credentials.encode()
    # Every key is compared, each in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(given, key.get_secret_value().encode()) for key in keys]
    if not any(matches):
        raise WrongKey("The key is not known to this server.")
