"""Errors that the operator can correct."""

from app.errors.base import MarlinscribeError


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
