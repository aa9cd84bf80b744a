"""Errors that are the service's: try again later."""

from app.errors.base import MarlinscribeError, whole_seconds


class Unavailable(MarlinscribeError):
    """The service is the cause; the answer carries Retry-After."""

    status = 503
    code = "unavailable"
    kind = "service_unavailable"

    def __init__(self, message: str, *, retry_after: float = 5) -> None:
        super().__init__(message)
        self.retry_after = whole_seconds(retry_after)


class NotReady(Unavailable):
    """The service is starting, exchanging checkpoints, restarting its engine, or in maintenance."""

    code = "not_ready"


class EngineDied(Unavailable):
    """The engine's process died, or was killed because it was stuck."""

    code = "engine_died"


class ShuttingDown(Unavailable):
    """The process was told to end, and the time to finish is over."""

    code = "shutting_down"


class QueueFull(Unavailable):
    """MARLINSCRIBE_MAX_QUEUE_SECONDS of audio wait, or one client has three quarters of them."""

    code = "queue_full"


class DeadlineExceeded(Unavailable):
    """The client's own timeout (OpenAI's SDKs send it) is shorter than its text will take.

    never_fits: an idle server would take too long too, so that a retry cannot help.
    """

    code = "client_would_time_out"

    def __init__(self, message: str, *, retry_after: float, never_fits: bool) -> None:
        super().__init__(message, retry_after=retry_after)
        self.never_fits = never_fits


class UploadNotStored(Unavailable):
    """The disk has no room for the upload, or MARLINSCRIBE_BACKGROUND_BYTES has none for one in the
    background."""

    code = "upload_not_stored"


class JobsElsewhere(Unavailable):
    """Another server does the jobs of this cache."""

    code = "jobs_elsewhere"


class RecordNotKept(Unavailable):
    """The disk has no room for a job's record."""

    code = "record_not_kept"
