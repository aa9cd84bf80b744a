"""The recipe of a checkpoint: a typed, hashable description of how its weights are quantized."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from app.recordings.spec import Plain, Recordings

Method = Literal["gptq", "awq", "autoround", "rtn"]
Scheme = Literal["W4A16", "W8A16", "W8A8", "W3A16", "W2A16"]
GroupSize = Literal[32, 64, 128, "channel"]
# What vLLM fuses (q, k and v; cross-attention's k and v) lies within one of these, so that it
# shares a scheme.
Component = Literal[
    "encoder.attention",
    "encoder.mlp",
    "decoder.self_attention",
    "decoder.cross_attention",
    "decoder.mlp",
    "embedding",
]


class Recipe(Plain):
    """A recipe says how the weights of every Linear are quantized; the embedding is left alone
    unless named.

    method: gptq (Frantar et al., arXiv:2210.17323), awq (Lin et al., arXiv:2306.00978), autoround
        (Cheng et al., arXiv:2309.05516), or rtn (round to nearest, no calibration).
    scheme: bits of weights and activations. W8A8 scales weights by channel and activations by
        token, whatever the group size.
    group_size: weights along the input that share a scale; "channel" is all of a row.
    observer: how gptq finds the scales: from a group's extremes, or by the least error weighted
        with each input channel's strength in calibration (imatrix).
    act_order: gptq quantizes columns by falling activation; "static" keeps groups contiguous,
        which is the only kind that vLLM serves.
    dampening: what gptq adds to the Hessian's diagonal, as a fraction of its mean.
    components: components with a scheme of their own, or "none".
    emulate: write the dequantized weights, to prove a scheme that no kernel here serves. Such a
        checkpoint is never promoted.
    dtype: of what is not quantized, and of the scales.
    """

    method: Method = "gptq"
    scheme: Scheme = "W4A16"
    group_size: GroupSize = 128
    observer: Literal["minmax", "imatrix"] = "minmax"
    act_order: Literal["static", "none"] = "static"
    dampening: float = Field(0.01, gt=0, lt=1, strict=True)
    components: Mapping[Component, Scheme | Literal["none"]] = {}
    emulate: StrictBool = False
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    calibration: Recordings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "rtn" and self.calibration is not None:
            raise ValueError("rtn takes no calibration")
        if self.observer == "imatrix" and self.method != "gptq":
            raise ValueError("the imatrix observer goes with gptq")
        for name in ("act_order", "dampening"):
            if self.method != "gptq" and getattr(self, name) != Recipe.model_fields[name].default:
                raise ValueError(f"{name} goes with gptq; {self.method} has none")
        if set(self.schemes.values()) == {"none"}:
            raise ValueError("every component is left alone: nothing would be quantized")
        return self

    @property
    def schemes(self) -> dict[Component, Scheme | Literal["none"]]:
        """The scheme of every component."""
        linears: tuple[Component, ...] = (
            "encoder.attention",
            "encoder.mlp",
            "decoder.self_attention",
            "decoder.cross_attention",
            "decoder.mlp",
        )
        whole: dict[Component, Scheme | Literal["none"]] = dict.fromkeys(linears, self.scheme)
        return whole | {"embedding": "none"} | dict(self.components)

    @property
    def label(self) -> str:
        """The recipe in short, for people: W4A16 gptq g128."""
        group = "channel" if self.group_size == "channel" else f"g{self.group_size}"
        parts = [self.scheme, self.method, group]
        parts += ["imatrix"] if self.observer == "imatrix" else []
        parts += [f"{name}={scheme}" for name, scheme in sorted(self.components.items())]
        parts += ["emulated"] if self.emulate else []
        return " ".join(parts)
