"""Everything that can go wrong, and the one envelope it is told in.

MarlinscribeError
├─ RequestError                 the caller's to mend
│  ├─ BadField            400   a known field with a bad value, or a missing one; `param` names it
│  ├─ UndecodableAudio    400   an audio container whose stream cannot be read, or holds none
│  ├─ TruncatedAudio      400   the container promises more audio than was sent
│  ├─ AudioTooShort       400   under MIN_SECONDS once decoded
│  ├─ BadBody             400   not the multipart form that was asked for
│  ├─ WrongKey            401   no key, or none that is known
│  ├─ AdminClosed         403   an admin route where no admin key is configured
│  ├─ UnknownModel        404
│  ├─ UnknownJob          404
│  ├─ JobConflict         409   what is asked of a job does not go with where it stands
│  ├─ UploadStalled       408   the body stopped coming; the SDK tries again
│  ├─ AudioTooLong        413   counted in decoded samples, not taken from a header
│  ├─ UploadTooLarge      413   counted in bytes as they arrive
│  ├─ NotAudio            415   no audio or video container at all
│  ├─ TooManyRequests     429   as many as the settings allow are under way; carries Retry-After
│  └─ JobsFull            429   as many jobs as may are waiting
├─ Unavailable            503   ours to mend; the answer carries Retry-After
│  ├─ NotReady                  still starting
│  ├─ EngineDied                the engine's process is gone
│  ├─ ShuttingDown              the process was told to end, and the time to finish is over
│  ├─ QueueFull                 as much audio waits as may
│  ├─ DeadlineExceeded          the client's own timeout is shorter than its recording takes
│  ├─ UploadNotStored           no room for the upload, on the disk or among those held
│  ├─ JobsElsewhere             another process does the jobs of this cache
│  └─ RecordNotKept             no room on disk for a job's record
└─ StartupError                 the operator's to mend: what happened, and what to do about it
   ├─ BadSource                 no such checkpoint, not a Whisper, or one vLLM cannot serve
   ├─ NoCalibration             the recipe needs recordings that cannot be had
   ├─ DiskFull
   ├─ CacheUnusable             not writable, or unreadable
   ├─ UploadFolderUnusable       TMPDIR cannot be written
   ├─ OutOfMemory
   ├─ QuantizerFailed           the child process ended without a checkpoint
   ├─ BadRecipe                 a recipe that the checkpoint's shape or the device does not allow
   ├─ SourceChanged             its files changed while they were read
   ├─ EngineFailed              vLLM did not start
   └─ CanaryFailed              a promoted checkpoint that does not do what its proof promises

The envelope is OpenAI's: {"error": {"message", "type", "param", "code"}}.
"""

from math import ceil
from typing import Any, ClassVar

LONGEST_RETRY = 60  # seconds: told of more, OpenAI's SDK for JavaScript comes back within 8


def whole_seconds(wait: float) -> int:
    """A wait as Retry-After has it."""
    return max(1, min(LONGEST_RETRY, ceil(wait)))


class MarlinscribeError(Exception):
    """The root. `status` and `code` are what a client sees; `message` is for people;
    `retry_after` is in seconds, where trying again is worth it."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    kind: ClassVar[str] = "server_error"
    retry_after: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class RequestError(MarlinscribeError):
    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class BadField(RequestError):
    code = "invalid_value"


class UndecodableAudio(RequestError):
    code = "undecodable_audio"


class TruncatedAudio(RequestError):
    code = "truncated_audio"


class AudioTooShort(RequestError):
    code = "audio_too_short"


class BadBody(RequestError):
    code = "invalid_body"


class WrongKey(RequestError):
    """`challenge` says how a key may be given (RFC 9110, WWW-Authenticate)."""

    status = 401
    code = "invalid_api_key"
    challenge = "Bearer"


class AdminClosed(RequestError):
    status = 403
    code = "admin_closed"
    kind = "permission_error"


class UnknownModel(RequestError):
    status = 404
    code = "model_not_found"


class UnknownJob(RequestError):
    status = 404
    code = "job_not_found"


class JobConflict(RequestError):
    status = 409
    code = "conflict"


class AudioTooLong(RequestError):
    status = 413
    code = "audio_too_long"


class NotAudio(RequestError):
    status = 415
    code = "not_audio"


class UploadStalled(RequestError):
    status = 408
    code = "upload_stalled"


class UploadTooLarge(RequestError):
    status = 413
    code = "upload_too_large"


class TooManyRequests(RequestError):
    status = 429
    code = "too_many_requests"
    kind = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float = 2) -> None:
        super().__init__(message)
        self.retry_after = whole_seconds(retry_after)


class JobsFull(RequestError):
    status = 429
    code = "too_many_jobs"
    kind = "rate_limit_error"
    retry_after = 60


class Unavailable(MarlinscribeError):
    status = 503
    code = "unavailable"
    kind = "service_unavailable"

    def __init__(self, message: str, *, retry_after: float = 5) -> None:
        super().__init__(message)
        self.retry_after = whole_seconds(retry_after)


class NotReady(Unavailable):
    code = "not_ready"


class EngineDied(Unavailable):
    code = "engine_died"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class QueueFull(Unavailable):
    code = "queue_full"


class DeadlineExceeded(Unavailable):
    """`never_fits`: however often it tries, an idle server would take too long too."""

    code = "client_would_time_out"

    def __init__(self, message: str, *, retry_after: float, never_fits: bool) -> None:
        super().__init__(message, retry_after=retry_after)
        self.never_fits = never_fits


class UploadNotStored(Unavailable):
    code = "upload_not_stored"


class JobsElsewhere(Unavailable):
    code = "jobs_elsewhere"


class RecordNotKept(Unavailable):
    code = "record_not_kept"


class StartupError(MarlinscribeError):
    """`advice` says what the operator can do; it is printed and shown in /health/ready."""

    code = "startup_failed"

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}"


class BadSource(StartupError):
    code = "bad_source"


class NoCalibration(StartupError):
    code = "no_calibration"


class DiskFull(StartupError):
    code = "disk_full"


class CacheUnusable(StartupError):
    code = "cache_unusable"


class UploadFolderUnusable(StartupError):
    code = "upload_folder_unusable"


class OutOfMemory(StartupError):
    code = "out_of_memory"


class QuantizerFailed(StartupError):
    code = "quantizer_failed"


class BadRecipe(StartupError):
    code = "bad_recipe"


class SourceChanged(StartupError):
    code = "source_changed"


class EngineFailed(StartupError):
    code = "engine_failed"


class CanaryFailed(StartupError):
    code = "canary_failed"


def envelope(
    message: str, *, kind: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
