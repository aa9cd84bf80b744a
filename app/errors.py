"""The tree of errors, and the envelope that a client gets them in.

MarlinscribeError
├─ RequestError                 the client can correct it
│  ├─ BadField            400   a known field with a bad value, or a missing one; `param` names it
│  ├─ UndecodableAudio    400   an audio container whose stream cannot be read, or holds none
│  ├─ TruncatedAudio      400   the container promises more audio than was sent
│  ├─ AudioTooShort       400   under MIN_SECONDS once decoded
│  ├─ BadBody             400   not the multipart form that was asked for
│  ├─ WrongKey            401   no key, or none that is known
│  ├─ AdminClosed         403   an admin route where no admin key is configured
│  ├─ UnknownModel        404   no such model is served
│  ├─ UnknownJob          404   no such job
│  ├─ JobConflict         409   what is asked of a job does not go with where it stands
│  ├─ UploadStalled       408   the body stopped coming; the SDK tries again
│  ├─ AudioTooLong        413   counted in decoded samples, not taken from a header
│  ├─ UploadTooLarge      413   counted in bytes as they arrive
│  ├─ NotAudio            415   no audio or video container at all
│  ├─ TooManyRequests     429   as many as the settings allow are under way; carries Retry-After
│  └─ JobsFull            429   as many jobs as may are waiting
├─ Unavailable            503   the service is the cause; carries Retry-After
│  ├─ NotReady                  still starting
│  ├─ EngineDied                the engine's process is gone
│  ├─ ShuttingDown              the process was told to end, and the time to finish is over
│  ├─ QueueFull                 as much audio waits as may
│  ├─ DeadlineExceeded          the client's own timeout is shorter than its recording takes
│  ├─ UploadNotStored           no room for the upload, on the disk or among those held
│  ├─ JobsElsewhere             another process does the jobs of this cache
│  └─ RecordNotKept             no room on disk for a job's record
└─ StartupError                 the operator can correct it: what happened, and what to do
   ├─ BadSource                 no such checkpoint, not a Whisper, or one vLLM cannot serve
   ├─ NoCalibration             the recipe needs recordings that cannot be had
   ├─ DiskFull                  no room for the checkpoint
   ├─ CacheUnusable             not writable, or unreadable
   ├─ UploadFolderUnusable      TMPDIR cannot be written
   ├─ OutOfMemory               the quantizer ran out of memory
   ├─ QuantizerFailed           the child process ended without a checkpoint
   ├─ BadRecipe                 a recipe that the checkpoint's shape or the device does not allow
   ├─ SourceChanged             the source's files changed while they were read
   ├─ EngineFailed              vLLM did not start
   └─ CanaryFailed              a promoted checkpoint that does not do what its proof promises

The envelope is OpenAI's: {"error": {"message", "type", "param", "code"}}.
"""

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


class RequestError(MarlinscribeError):
    """The request is the cause, and the client can correct it."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class BadField(RequestError):
    """A known field has a bad value,
    or is missing (`missing_required_parameter`). `param` names it."""

    code = "invalid_value"


class UndecodableAudio(RequestError):
    """The container cannot be read to its end, or holds no audio or samples that are none (NaN)."""

    code = "undecodable_audio"


class TruncatedAudio(RequestError):
    """The header of a wav, mp3, flac, m4a or mp4 promises over a second more than was sent."""

    code = "truncated_audio"


class AudioTooShort(RequestError):
    """The file is empty, or holds under 0.1 s of audio."""

    code = "audio_too_short"


class BadBody(RequestError):
    """The body is not the multipart form, or not the JSON, that was asked for."""

    code = "invalid_body"


class WrongKey(RequestError):
    """Keys are set, and none of them was sent.

    `challenge` says how a key may be given (RFC 9110, WWW-Authenticate).
    """

    status = 401
    code = "invalid_api_key"
    challenge = "Bearer"


class AdminClosed(RequestError):
    """The route is an admin route, and MARLINSCRIBE_ADMIN_KEY is not set."""

    status = 403
    code = "admin_closed"
    kind = "permission_error"


class UnknownModel(RequestError):
    """No model of that name or alias is served."""

    status = 404
    code = "model_not_found"


class UnknownJob(RequestError):
    """No job has that id."""

    status = 404
    code = "job_not_found"


class JobConflict(RequestError):
    """The job's or the service's status does not allow what is asked (also `exchange_under_way`,
    `not_ready`, `no_promotion`, …)."""

    status = 409
    code = "conflict"


class AudioTooLong(RequestError):
    """The recording is longer than MARLINSCRIBE_MAX_AUDIO_SECONDS, counted as it is decoded."""

    status = 413
    code = "audio_too_long"


class NotAudio(RequestError):
    """The file is not an audio or video container."""

    status = 415
    code = "not_audio"


class UploadStalled(RequestError):
    """No byte of the body came for MARLINSCRIBE_UPLOAD_IDLE_SECONDS, or under 2 kB a second on
    the whole; SDKs try again."""

    status = 408
    code = "upload_stalled"


class UploadTooLarge(RequestError):
    """The body is larger than MARLINSCRIBE_MAX_UPLOAD_BYTES, counted as it arrives."""

    status = 413
    code = "upload_too_large"


class TooManyRequests(RequestError):
    """MARLINSCRIBE_MAX_REQUESTS are under way, or one client has three quarters of them."""

    status = 429
    code = "too_many_requests"
    kind = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: float = 2) -> None:
        super().__init__(message)
        self.retry_after = whole_seconds(retry_after)


class JobsFull(RequestError):
    """MARLINSCRIBE_MAX_JOBS jobs are waiting."""

    status = 429
    code = "too_many_jobs"
    kind = "rate_limit_error"
    retry_after = 60


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
    """The disk has no room for the upload."""

    code = "upload_not_stored"


class JobsElsewhere(Unavailable):
    """Another server does the jobs of this cache."""

    code = "jobs_elsewhere"


class RecordNotKept(Unavailable):
    """The disk has no room for a job's record."""

    code = "record_not_kept"


class StartupError(MarlinscribeError):
    """A start or a job cannot be done; a start that fails ends the process with status 1.

    `advice` says what the operator can do; it is printed and shown in /health/ready.
    """

    code = "startup_failed"

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}"


class BadSource(StartupError):
    """The model does not exist, is not a Whisper checkpoint, or is one that vLLM cannot serve."""

    code = "bad_source"


class NoCalibration(StartupError):
    """The recipe needs recordings that cannot be read or found."""

    code = "no_calibration"


class DiskFull(StartupError):
    """The disk has no room for the checkpoint."""

    code = "disk_full"


class CacheUnusable(StartupError):
    """The cache folder cannot be written or read."""

    code = "cache_unusable"


class UploadFolderUnusable(StartupError):
    """The folder where large uploads wait (TMPDIR) cannot be written."""

    code = "upload_folder_unusable"


class OutOfMemory(StartupError):
    """The quantizer's process ran out of memory."""

    code = "out_of_memory"


class QuantizerFailed(StartupError):
    """The quantizer's process ended without a checkpoint, or is not installed."""

    code = "quantizer_failed"


class BadRecipe(StartupError):
    """The checkpoint's shape or the device does not allow the recipe."""

    code = "bad_recipe"


class SourceChanged(StartupError):
    """The model's or the recordings' files changed while they were read."""

    code = "source_changed"


class EngineFailed(StartupError):
    """vLLM did not start, or did not stay up."""

    code = "engine_failed"


class CanaryFailed(StartupError):
    """A promoted checkpoint transcribes its canaries otherwise than its proof promises.

    transcripts: what was said and what was heard, for the job's record, which the admin key opens,
    and not for the log.
    """

    code = "canary_failed"

    def __init__(self, message: str, advice: str, transcripts: str = "") -> None:
        super().__init__(message, advice)
        self.transcripts = transcripts


def envelope(
    message: str, *, kind: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
