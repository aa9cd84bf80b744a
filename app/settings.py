"""The service's settings: MARLINSCRIBE_* variables, read once at the start and frozen."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.background_settings import BackgroundSettings
from app.environment import (
    EnvironmentSource,
    Folder,
    Folders,
    GroupSize,
    ModelSource,
    NamedSources,
    Names,
    NoneOr,
    Secrets,
    Stripped,
    check_together,
    name_of,
    named_sources,
    split,
)

_STORED_UPLOADS = 4  # of the largest size, where no bound is set


class Settings(BackgroundSettings):
    """Each field is the variable MARLINSCRIBE_<NAME>; docs/reference.md is made from them."""

    model_config = SettingsConfigDict(env_prefix="MARLINSCRIBE_", frozen=True, extra="forbid")

    model: ModelSource = Field(
        "openai/whisper-base",
        description="Whisper checkpoint: Hugging Face id, folder (of Hugging Face or "
        "faster-whisper), `.pt` file of OpenAI, or `demo`, which is bundled and serves where this "
        "is unset and the default cannot be had",
    )
    model_aliases: Names = Field(
        (),
        description="Other names that a request's `model` may carry, comma-separated: `alias` for "
        "the first model, `alias=name` for another, `*` for any name. Those that clients have "
        "(whisper-1, large-v3, …) are known; on a loopback address any is taken",
    )
    models: NamedSources = Field(
        (),
        description="Several models side by side, as name=source, comma-separated, in place of "
        "MARLINSCRIBE_MODEL; the first is the default",
    )
    host: str = Field(
        "127.0.0.1", description="Address to listen on; beyond this machine only with keys"
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on")
    api_keys: Secrets = Field(
        (), description="Clients' keys, comma-separated; without any, anyone may transcribe"
    )
    admin_key: Annotated[SecretStr | None, Stripped] = Field(
        None, description="Key of the admin routes, and good for the others; unset, they answer 403"
    )
    allow_anonymous: bool = Field(
        False, description="Allows listening beyond this machine without keys"
    )
    cors_origins: Names = Field(
        (), description="Web origins whose pages may call, comma-separated; `*` is any"
    )
    cache_dir: Folder = Field(
        Path("~/.cache/marlinscribe"), description="Where made checkpoints are kept"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to run; `auto` takes an NVIDIA card where one answers"
    )

    quantization: Literal["auto", "gptq", "awq", "autoround", "rtn", "none"] = Field(
        "auto",
        description="How to make the checkpoint; `auto`: gptq, but a tiny, base or small in 8 bits "
        "on a processor, and its encoder on a card; `none` serves the source",
    )
    group_size: GroupSize = Field(
        "auto",
        description="Weights that share one scale; `channel`: all of a row; `auto`: 128, or 32",
    )
    calibration: str | None = Field(
        None,
        description="Folder, manifest (jsonl, csv) or hub dataset (id:config:split, librispeech, "
        "fleurs:en_us) to learn from; unset, the demo's own for the demo, else the bundled voices, "
        "in five languages, or in English where the model knows no other",
    )
    calibration_samples: int = Field(256, ge=1, description="Recordings to calibrate on, at most")
    calibration_language: str = Field(
        "en", description="Language of calibration recordings that name none"
    )
    data_roots: Folders = Field(
        (),
        description="Folders that jobs may read models and recordings from, comma-separated; "
        "always: the demo's, those the settings name, and hub ids",
    )
    while_quantizing: Literal["auto", "serve", "maintenance"] = Field(
        "auto",
        description="During a job: `serve`, or `maintenance`: 503, and the device is the job's; "
        "`auto` serves on a CPU and makes room on a card",
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
        description="Restarts of the engine in a row, none of which served for five minutes, "
        "before the process ends with status 1; 0 ends it at the first death",
    )
    engine_stall_seconds: float = Field(
        120,
        gt=0,
        description="How long an engine that has windows may give no token before it is killed and "
        "started again; a CPU with a large model may need more, a card needs less",
    )
    idle_unload_seconds: float | None = Field(
        None, gt=0, description="Time without a transcription after which the engine is ended"
    )
    quantizer_python: str = Field(
        sys.executable, description="Interpreter of the quantizer, where it lives elsewhere"
    )
    quantizer_overlay: Annotated[Path | None, NoneOr] = Field(
        Path(sys.prefix) / "share" / "marlinscribe" / "quantizer",
        description="Folder of the packages that only the quantizer uses; none: there is none",
    )

    max_audio_seconds: float = Field(
        14400, gt=0, description="Longest recording, in decoded seconds"
    )
    max_upload_bytes: int = Field(
        2**30,
        ge=1,
        description="Largest request body, counted as it arrives; above 1 MB it waits in TMPDIR",
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
        64,
        ge=1,
        description="Transcriptions received or answered at once; one client has three quarters",
    )
    max_queue_seconds: float = Field(
        28800,
        gt=0,
        description="Audio that may wait for the engine, in seconds; one client has three quarters",
    )
    max_decoded_seconds: float = Field(
        57600,
        gt=0,
        description="Decoded audio that is held in memory at once, in seconds of 32 kB; a single "
        "recording is held in any case",
    )
    stream_heartbeat_seconds: float = Field(
        15,
        gt=0,
        description="Longest silence of a streamed answer, from when its audio is decoded; then a "
        "comment is sent",
    )
    window_seconds: float = Field(
        30, ge=2, le=30, description="Longest window that the model decodes at once"
    )
    vad: bool = Field(
        True,
        description="Decode speech alone, as Silero's voice activity detector finds it; false "
        "decodes all of a recording",
    )
    vad_threshold: float = Field(
        0.5, gt=0, lt=1, description="Least probability at which a sound counts as speech"
    )
    vad_prefix_padding_ms: int = Field(
        300, ge=0, le=5000, description="Milliseconds that are decoded before speech and behind it"
    )
    vad_silence_duration_ms: int = Field(
        200, ge=0, le=30_000, description="Shortest pause, in milliseconds, that is not speech"
    )
    chinese_script: Literal["zh-TW", "zh-HK", "zh-Hant", "zh-Hans"] | None = Field(
        None, description="Script of Chinese where a request names none; unset, the model's"
    )
    temperature_fallback: bool = Field(
        True, description="Decode at higher temperatures what repeats itself at 0"
    )
    subtitle_cues: Literal["readable", "segments"] = Field(
        "readable",
        description="What srt and vtt show at once: two lines for 7 s at most, or a whole segment",
    )
    max_windows: int | None = Field(
        None, ge=1, description="Windows decoded at once; unset, computed from memory"
    )
    kv_cache_bytes: int | None = Field(
        None, ge=1, description="Memory for keys and values; unset, computed from what is free"
    )
    linear_backend: str = Field("auto", description="vLLM's linear kernel; `marlin` insists on it")
    short_encoder: Literal["auto", "on", "off"] = Field(
        "auto", description="Encoder as long as the window; `auto`: where that was measured to pass"
    )
    failure_linger_seconds: float = Field(
        5,
        ge=0,
        description="How long /health/ready shows why a start failed before the process ends",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Level of the service's log; `debug` shows vLLM's and the quantizer's too",
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="The log's lines; `json`: one object a line, a request's figures as its fields",
    )
    otlp_traces_endpoint: Annotated[str | None, Stripped] = Field(
        None,
        description="OpenTelemetry collector that gets a span for each request, vLLM's own below "
        "it; gRPC, or HTTP where OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
    )
    log_transcripts: bool = Field(False, description="Put transcripts into the log too")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, then the environment; there are no other sources."""
        return init_settings, EnvironmentSource(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _first_model(cls, given: Any) -> Any:
        """MARLINSCRIBE_MODEL is the first of several's source."""
        sources = [one.partition("=")[2].strip() for one in split(given.get("models", ()))]
        if not sources:
            return given
        if given.get("model", sources[0]) != sources[0]:
            raise PydanticCustomError(
                "models_and_model",
                "MARLINSCRIBE_MODELS and MARLINSCRIBE_MODEL are both set: leave one of them out.",
            )
        return given | {"model": sources[0]}

    @property
    def served_models(self) -> dict[str, str]:
        """Names that clients ask for to what is served under them, the default first."""
        if not self.models:
            return {name_of(self.model): self.model}
        return named_sources(self.models)

    @property
    def is_model_open(self) -> bool:
        """Whether nobody chose a model, so that another serves where the default cannot be had."""
        return "model" not in self.model_fields_set

    def of_model(self, name: str) -> Self:
        """The settings with one of the served models as the only one."""
        if not self.models:
            return self
        return self.model_copy(update={"model": self.served_models[name], "models": ()})

    @property
    def stored_upload_bytes(self) -> int:
        """Bytes of uploads that are held at once, at most."""
        return self.max_stored_upload_bytes or _STORED_UPLOADS * self.max_upload_bytes

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_together(self)
        return self


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most likely misspelt."""
    prefix = str(Settings.model_config["env_prefix"])
    known = {prefix + name.upper() for name in Settings.model_fields}
    return sorted(n for n in environment if n.startswith(prefix) and n.upper() not in known)
