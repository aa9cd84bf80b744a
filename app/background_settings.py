"""The settings of transcriptions in the background."""

from base64 import b64decode
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from app.environment import Stripped


def _as_secret(value: SecretStr | None) -> SecretStr | None:
    """Check a webhook's secret as OpenAI and Standard Webhooks write them."""
    prefix, _, encoded = (value.get_secret_value() if value else "whsec_AAAA").partition("_")
    try:
        good = prefix == "whsec" and b64decode(encoded, validate=True)
    except ValueError:
        good = b""
    if not good:
        raise PydanticCustomError("webhook_secret", "it must be whsec_ and base64")
    return value


class BackgroundSettings(BaseSettings):
    """The part of app.settings.Settings that only transcriptions in the background read."""

    background_jobs: int = Field(
        1000,
        ge=1,
        description="Transcriptions in the background that may wait or run; one client has three "
        "quarters",
    )
    background_running: int = Field(
        8, ge=1, description="Transcriptions in the background that run at once, at most"
    )
    background_bytes: int = Field(
        16 * 2**30,
        ge=1,
        description="Bytes that recordings and results in the background may take of the disk of "
        "CACHE_DIR; one client has three quarters",
    )
    background_days: float = Field(
        7,
        gt=0,
        description="Days after which the result of a transcription in the background is deleted",
    )
    webhook_secret: Annotated[SecretStr | None, Stripped, AfterValidator(_as_secret)] = Field(
        None,
        description="Secret that webhooks are signed with, `whsec_` and base64, for clients to "
        "verify them by; unset, no form may name a `webhook_url`",
    )
    allow_private_addresses: bool = Field(
        False,
        description="Allows webhooks to addresses on the inside (loopback, private, link-local), "
        "and over http; recordings from there too, where any are fetched",
    )
    fetch_urls: bool = Field(
        False,
        description="Allows `file_url`, and addresses in the lines of batches: the service fetches "
        "the recording, of MAX_UPLOAD_BYTES at most",
    )
    fetch_seconds: float = Field(
        300, gt=0, description="Longest time that fetching a recording may take"
    )
