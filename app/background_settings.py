"""The settings of transcriptions in the background."""

from pydantic import Field
from pydantic_settings import BaseSettings


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
