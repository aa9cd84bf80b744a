"""A batch: many recordings asked for in one file, as OpenAI's batches ask."""

import re
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.background.webhooks import Delivery

ENDPOINT = "/v1/audio/transcriptions"
# A `completion_window`, in hours or days: OpenAI's is 24h, Groq's are 24h to 7d.
WINDOW = r"^[1-9][0-9]?[hd]$"
_SECONDS = {"h": 3600, "d": 86_400}
_WINDOW_OF_OLD = "24h"


class BatchStatus(StrEnum):
    """OpenAI's words."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        return self in _ACTIVE


_ACTIVE = frozenset(
    {
        BatchStatus.VALIDATING,
        BatchStatus.IN_PROGRESS,
        BatchStatus.FINALIZING,
        BatchStatus.CANCELLING,
    }
)


@dataclass
class Batch:
    """A batch's record. total, completed, failed: of its lines. times: Unix seconds in which it
    reached each status. errors: why it failed as a whole."""

    id: str
    owner: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None = None
    webhook_url: str | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    total: int = 0
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] | None = None
    delivery: Delivery | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))
    times: dict[str, int] = field(default_factory=dict)

    def enter(self, status: BatchStatus) -> None:
        """Note that a status is reached now, where it is another one."""
        if self.status is not status:
            self.status = status
            self.times.setdefault(status, int(time.time()))

    @property
    def expires_at(self) -> int:
        """Unix seconds at which what is not done is given up. A record may be older than the rule
        for windows and have one that is neither hours nor days: its batch has OpenAI's day."""
        is_known = re.fullmatch(WINDOW, self.completion_window)
        window = self.completion_window if is_known else _WINDOW_OF_OLD
        return self.created_at + int(window[:-1]) * _SECONDS[window[-1]]

    @property
    def ended_at(self) -> int | None:
        """Unix seconds; None while the batch is not over."""
        return None if self.status.is_active else self.times.get(self.status, self.created_at)
