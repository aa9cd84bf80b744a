"""Errors that the caller can correct."""

from app.errors.base import MarlinscribeError, whole_seconds


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
    """The file's header (of a wav, mp3, flac, m4a, mp4 or webm) promises over a second more than
    was sent, or an Ogg file ends within a page."""

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


class UnknownFile(RequestError):
    """No file, or no batch, has that id."""

    status = 404
    code = "not_found"


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
    """MARLINSCRIBE_MAX_JOBS jobs are waiting, or MARLINSCRIBE_BACKGROUND_JOBS transcriptions in the
    background, of which one client has three quarters."""

    status = 429
    code = "too_many_jobs"
    kind = "rate_limit_error"
    retry_after = 60
