"""A transcription in the background: its record, its status, and how far it is."""

import time
from dataclasses import dataclass, field
from enum import StrEnum

from app.background.webhooks import Delivery
from app.errors import MarlinscribeError, envelope
from app.transcription.results import Options


class Status(StrEnum):
    """The words of OpenAI's background responses. Who cancels a job deletes it."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        return self in (Status.QUEUED, Status.IN_PROGRESS)


@dataclass(frozen=True)
class Ask:
    """What a client asks for. owner: whose the job is; "" where no keys are set, and it is
    everybody's. model: the served model's name. fields: the form's, as they were sent, for whoever
    renders the result. filename: what the client calls the recording. webhook_url: who is told when
    the job is over. batch, line: of which batch the job is, and of which of its lines."""

    owner: str
    model: str
    options: Options
    fields: tuple[tuple[str, str], ...] = ()
    filename: str = ""
    webhook_url: str | None = None
    batch: str = ""
    line: int = 0


@dataclass(frozen=True)
class Progress:
    """Seconds of a recording: how many are done, how many there are (None until it is decoded), and
    how long the others may take (None where that cannot be told)."""

    seconds_done: float = 0.0
    seconds_total: float | None = None
    eta_seconds: float | None = None


@dataclass
class TranscriptionJob:
    """A job's record. Times are Unix seconds.

    stored_bytes: what it takes of the disk. tries: how often work on it was begun since a window
    was last finished. windows: how many were finished when it was begun last.
    error: OpenAI's error, as it stands in the envelope. delivery: the webhook that is on its way.
    """

    id: str
    ask: Ask
    status: Status = Status.QUEUED
    progress: Progress = Progress()
    stored_bytes: int = 0
    tries: int = 0
    windows: int = 0
    error: dict[str, str | None] | None = None
    delivery: Delivery | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))
    started_at: int | None = None
    finished_at: int | None = None


def error_of(error: MarlinscribeError) -> dict[str, str | None]:
    """Return an error as it stands in OpenAI's envelope."""
    body = envelope(error.message, kind=error.kind, code=error.code, param=error.param)
    told: dict[str, str | None] = body["error"]
    return told
