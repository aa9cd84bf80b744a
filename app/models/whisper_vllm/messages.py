"""What the service and an engine's process say to each other, pickled, over a socket of their own.

The service asks for windows by number and hears what newly came of each; an engine's other answers
are calls', numbered alike. Neither side imports vLLM for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import Metric

from app.models.whisper_vllm.alignment_heads import Head
from app.models.whisper_vllm.decoder import Step, TokenRequest
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.tokens import SpecialTokens


@dataclass(frozen=True)
class EngineStart:
    """What an engine is started with. name: what vLLM's metrics call it. heads: those whose
    attention is recorded. is_observed: whether anybody reads its statistics and traces."""

    name: str
    folder: Path
    plan: EnginePlan
    tokens: SpecialTokens
    heads: tuple[Head, ...]
    is_observed: bool
    linear_backend: str = "auto"
    traces_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Decode:
    """To the engine: decode a window to at most so many tokens. trace: the headers of the span
    that vLLM's is to lie below."""

    number: int
    request: TokenRequest
    max_tokens: int
    trace: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Abort:
    """To the engine: nobody wants the window any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Call:
    """To the engine: call a method of the worker (WhisperWorker)."""

    number: int
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """To the engine: end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the engine: it takes windows."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From the engine: it did not start."""

    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """What newly came of a window. waits: the seconds between each of its tokens and the one
    before, of all but the window's first. queued: the seconds that it waited inside vLLM, known at
    its end. given_up: vLLM's word for why, where it was."""

    number: int
    step: Step
    waits: tuple[float, ...] = ()
    queued: float | None = None
    given_up: str | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """From the engine: what is new, up to a step, of all windows of which something is told."""

    arrived: tuple[Arrived, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """From the engine: vLLM does not take the window, or failed at the call. Either is a
    defect."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """From the engine: what a call returned."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Figures:
    """From the engine: vLLM's own metrics as they are."""

    families: tuple[Metric, ...]


ToEngine: TypeAlias = Decode | Abort | Call | Stop
FromEngine: TypeAlias = Ready | Failed | Steps | Refused | Answer | Figures
