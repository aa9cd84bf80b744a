"""What an operator can set: MARLINSCRIBE_* variables, read once, frozen."""

import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_STORED_UPLOADS = 4  # of the largest size, where no bound is set
DEMO = Path(__file__).resolve().parent.parent / "demo"

# NoDecode: "a,b" from the environment, not JSON
Names = Annotated[tuple[str, ...], NoDecode]
# The environment holds text, and Literal takes no text for a number.
GroupSize = Annotated[
    Literal[32, 64, 128, "channel"], BeforeValidator(lambda v: int(v) if str(v).isdecimal() else v)
]
Folders = Annotated[tuple[Path, ...], NoDecode]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode]  # SecretStr: not shown where settings are


class Settings(BaseSettings):
    """Each field is the variable MARLINSCRIBE_<NAME>; README.md carries the same table."""

    model_config = SettingsConfigDict(env_prefix="MARLINSCRIBE_", frozen=True, extra="forbid")

    model: str = Field(
        str(DEMO / "marine-radio"), description="Hugging Face id or local folder of a Whisper"
    )
    model_aliases: Names = Field(
        ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
        description="Other names that `model` may carry, comma-separated",
    )
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on")
    api_keys: Secrets = Field((), description="Keys of the clients, comma-separated; none: open")
    admin_key: SecretStr | None = Field(None, description="Key of the admin routes; none: closed")
    allow_anonymous: bool = Field(
        False, description="Listen beyond this machine although there are no keys"
    )
    cors_origins: Names = Field(
        (), description="Web origins that browsers may call from, comma-separated; * is any"
    )
    cache_dir: Path = Field(
        Path("~/.cache/marlinscribe"), description="Where made checkpoints are kept"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to run; auto takes an NVIDIA card where one answers"
    )

    quantization: Literal["gptq", "awq", "autoround", "rtn", "none"] = Field(
        "gptq", description="How to make the 4-bit checkpoint; none serves the source as it is"
    )
    group_size: GroupSize = Field(128, description="Weights that share one scale")
    calibration: str | None = Field(
        None,
        description="Folder, manifest (jsonl, csv) or hub dataset to calibrate on; "
        "the demo has its own, other models take peoples_speech",
    )
    calibration_samples: int = Field(256, ge=1, description="Recordings to calibrate on, at most")
    calibration_language: str = Field(
        "en", description="Language of calibration recordings that name none"
    )
    data_roots: Folders = Field(
        (),
        description="Folders that jobs may read models and recordings from, comma-separated; "
        "the demo's and hub ids always",
    )
    while_quantizing: Literal["auto", "serve", "maintenance"] = Field(
        "auto",
        description="During a job, keep serving or leave the device to it; "
        "auto serves on a CPU and makes room on a card",
    )
    max_jobs: int = Field(8, ge=1, description="Quantization jobs that may wait")
    drain_seconds: float = Field(
        30,
        ge=0,
        description="How long running requests may take before a checkpoint is exchanged, and "
        "before the process ends when it is told to",
    )
    exchange_wait_seconds: float = Field(
        60,
        ge=0,
        description="How long a request waits for an exchange, or for an idle engine's start, "
        "before it is answered 503",
    )
    engine_restarts: int = Field(
        5,
        ge=0,
        description="Restarts of the engine in a row, none of which served for long, before the "
        "process ends; 0 ends it at the first death",
    )
    engine_stall_seconds: float = Field(
        120, gt=0, description="How long a busy engine may give no token before it is killed"
    )
    idle_unload_seconds: float | None = Field(
        None, gt=0, description="Time without a transcription before the engine gives back memory"
    )
    quantizer_python: str = Field(
        sys.executable, description="Interpreter of the quantizer, where it lives elsewhere"
    )
    quantizer_overlay: Path | None = Field(
        Path(sys.prefix) / "share" / "marlinscribe" / "quantizer",
        description="Folder of the packages that only the quantizer uses",
    )

    max_audio_seconds: float = Field(
        14400, gt=0, description="Longest recording, in decoded seconds"
    )
    max_upload_bytes: int = Field(
        2**30, ge=1, description="Largest request body; above 1 MB it waits on disk"
    )
    max_stored_upload_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes of all uploads that are held at once, in memory and in TMPDIR; four "
        "times MAX_UPLOAD_BYTES when unset",
    )
    upload_idle_seconds: float = Field(
        60, gt=0, description="Longest wait for the next bytes of a request's body"
    )
    max_requests: int = Field(
        64, ge=1, description="Transcriptions being received or answered at once"
    )
    max_queue_seconds: float = Field(
        28800, gt=0, description="Audio that may wait for the engine, in seconds"
    )
    max_decoded_seconds: float = Field(
        57600,
        gt=0,
        description="Decoded audio that is held in memory at once, in seconds of 64 kB; a single "
        "recording is held in any case",
    )
    stream_heartbeat_seconds: float = Field(
        15, gt=0, description="Longest silence of a streamed answer"
    )
    window_seconds: float = Field(
        30, ge=2, le=30, description="Longest window the model hears at once"
    )
    max_windows: int | None = Field(
        None, ge=1, description="Windows decoded at once; computed from memory when unset"
    )
    kv_cache_bytes: int | None = Field(
        None, ge=1, description="Memory for keys and values; computed from what is free when unset"
    )
    linear_backend: str = Field("auto", description="vLLM's linear kernel: auto, marlin, …")
    failure_linger_seconds: float = Field(
        5, ge=0, description="How long /health/ready shows why a start failed before the exit"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Level of the service's own log"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="The log's lines; json has a request's figures as fields"
    )
    otlp_traces_endpoint: str | None = Field(
        None, description="OpenTelemetry collector that spans are sent to; none: no tracing"
    )
    log_transcripts: bool = Field(False, description="Put what was heard into the log too")

    @field_validator("model_aliases", "api_keys", "cors_origins", "data_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(a.strip() for a in value.split(",") if a.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("data_roots")
    @classmethod
    def _real(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().resolve() for path in value)

    @field_validator("cache_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("quantizer_overlay", "admin_key", "otlp_traces_endpoint", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """So is what is blank: HTTP takes blanks around a key off what a client sends."""
        return (value.strip() if isinstance(value, str) else value) or None

    @model_validator(mode="after")
    def _admin_key_is_no_clients(self) -> Self:
        admin = self.admin_key and self.admin_key.get_secret_value()
        if admin and admin in {key.get_secret_value() for key in self.api_keys}:
            raise PydanticCustomError(
                "keys_equal",
                "MARLINSCRIBE_ADMIN_KEY is one of MARLINSCRIBE_API_KEYS, so that every client with "
                "that key could do what an admin does. Give the admin a key of its own.",
            )
        return self

    @model_validator(mode="after")
    def _store_holds_the_largest_upload(self) -> Self:
        if self.stored_upload_bytes < self.max_upload_bytes:
            raise PydanticCustomError(
                "store_too_small",
                "MARLINSCRIBE_MAX_STORED_UPLOAD_BYTES={stored} is less than one upload may have "
                "(MARLINSCRIBE_MAX_UPLOAD_BYTES={most}).",
                {"stored": self.stored_upload_bytes, "most": self.max_upload_bytes},
            )
        return self

    @property
    def stored_upload_bytes(self) -> int:
        """Bytes of uploads that are held at once, at most."""
        return self.max_stored_upload_bytes or _STORED_UPLOADS * self.max_upload_bytes

    @model_validator(mode="after")
    def _keys_beyond_this_machine(self) -> Self:
        if self.api_keys or self.allow_anonymous or _is_loopback(self.host):
            return self
        raise PydanticCustomError(
            "keys_missing",
            "MARLINSCRIBE_HOST={host} can be reached from other machines, and no keys are set. "
            "Set MARLINSCRIBE_API_KEYS, or MARLINSCRIBE_ALLOW_ANONYMOUS=true to serve anyone.",
            {"host": self.host},
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most likely misspelt."""
    prefix = str(Settings.model_config["env_prefix"])
    known = {prefix + name.upper() for name in Settings.model_fields}
    return sorted(n for n in environment if n.startswith(prefix) and n.upper() not in known)
