"""How a checkpoint is made: a typed, hashable description."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Calibration(BaseModel):
    """The recordings a method learns from.

    source: a folder, a manifest, or a Hugging Face dataset as "id:config:split".
    language: of recordings that name none, an ISO code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    samples: int = Field(256, ge=1)
    language: str = "en"


class Recipe(BaseModel):
    """Weights in `bits` bits, activations in 16; every Linear but the ignored ones.

    method: gptq (Frantar et al., arXiv:2210.17323) or rtn (round to nearest, no calibration).
    group_size: weights along the input that share a scale.
    act_order: quantize columns by falling activation; "static" keeps groups contiguous, which is
        the only kind vLLM serves.
    dampening: added to the Hessian's diagonal, as a fraction of its mean.
    ignore: module names left alone. Whisper's output projection is `proj_out`, tied to the
        embedding; recipes for language models call theirs `lm_head`.
    dtype: of what is not quantized, and of the scales.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["gptq", "rtn"] = "gptq"
    bits: Literal[4] = 4
    group_size: Literal[32, 64, 128] = 128
    act_order: Literal["static", "none"] = "static"
    dampening: float = Field(0.01, gt=0, lt=1)
    ignore: tuple[str, ...] = ("proj_out", "lm_head")
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    calibration: Calibration | None = None

    @property
    def scheme(self) -> str:
        return f"W{self.bits}A16 {self.method} g{self.group_size}"
