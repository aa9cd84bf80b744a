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
│  ├─ UnknownFile         404   no such file or batch
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

from app.errors.base import LONGEST_RETRY, MarlinscribeError, envelope, whole_seconds
from app.errors.requests import (
    AdminClosed,
    AudioTooLong,
    AudioTooShort,
    BadBody,
    BadField,
    JobConflict,
    JobsFull,
    NotAudio,
    RequestError,
    TooManyRequests,
    TruncatedAudio,
    UndecodableAudio,
    UnknownFile,
    UnknownJob,
    UnknownModel,
    UploadStalled,
    UploadTooLarge,
    WrongKey,
)
from app.errors.startup import (
    BadRecipe,
    BadSource,
    CacheUnusable,
    CanaryFailed,
    DiskFull,
    EngineFailed,
    NoCalibration,
    OutOfMemory,
    QuantizerFailed,
    SourceChanged,
    StartupError,
    UploadFolderUnusable,
)
from app.errors.unavailable import (
    DeadlineExceeded,
    EngineDied,
    JobsElsewhere,
    NotReady,
    QueueFull,
    RecordNotKept,
    ShuttingDown,
    Unavailable,
    UploadNotStored,
)

__all__ = [
    "LONGEST_RETRY",
    "AdminClosed",
    "AudioTooLong",
    "AudioTooShort",
    "BadBody",
    "BadField",
    "BadRecipe",
    "BadSource",
    "CacheUnusable",
    "CanaryFailed",
    "DeadlineExceeded",
    "DiskFull",
    "EngineDied",
    "EngineFailed",
    "JobConflict",
    "JobsElsewhere",
    "JobsFull",
    "MarlinscribeError",
    "NoCalibration",
    "NotAudio",
    "NotReady",
    "OutOfMemory",
    "QuantizerFailed",
    "QueueFull",
    "RecordNotKept",
    "RequestError",
    "ShuttingDown",
    "SourceChanged",
    "StartupError",
    "TooManyRequests",
    "TruncatedAudio",
    "Unavailable",
    "UndecodableAudio",
    "UnknownFile",
    "UnknownJob",
    "UnknownModel",
    "UploadFolderUnusable",
    "UploadNotStored",
    "UploadStalled",
    "UploadTooLarge",
    "WrongKey",
    "envelope",
    "whole_seconds",
]
