"""The recipe of a checkpoint: a typed, hashable description of how its weights are quantized."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, Field, StrictBool, WithJsonSchema, model_validator

from app.checkpoints.tuned import Tuned
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

_WRITTEN = re.compile(r"none|W8A8|(W[2348]A16)( g(32|64|128)| channel)?")
_MOST_PATTERNS = 1000  # whisper-large's 32 + 32 layers are 352 fused groups


def written_scheme(text: str) -> str:
    """Return a scheme as it is written. Raises ValueError where it is none."""
    if not _WRITTEN.fullmatch(text):
        raise ValueError(
            f'"{text[:50]}" is no scheme: there are {", ".join(get_args(Scheme))}, each but W8A8 '
            "perhaps with a group size (W4A16 g32, W4A16 channel), and none"
        )
    return text


# A scheme as people write it: "W8A8", "W4A16", "W4A16 g32", "none".
WrittenScheme = Annotated[
    str,
    AfterValidator(written_scheme),
    WithJsonSchema({"type": "string", "pattern": f"^({_WRITTEN.pattern})$"}),
]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class LayerScheme(NamedTuple):
    """The scheme of one linear's weights, and how many of them share a scale; of what has no groups
    (W8A8, none) that is all of a row."""

    scheme: Scheme | Literal["none"]
    group_size: GroupSize

    @classmethod
    def read(cls, text: str, group_size: GroupSize) -> "LayerScheme":
        """Return the scheme that is written; in groups of `group_size` where it names none."""
        scheme, _, group = text.partition(" ")
        if scheme in ("W8A8", "none") or group == "channel":
            return cls(scheme, "channel")  # type: ignore[arg-type]
        return cls(scheme, int(group[1:]) if group else group_size)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.scheme in ("W8A8", "none"):
            return self.scheme
        return f"{self.scheme} {_group_name(self.group_size)}"


def _group_name(group_size: GroupSize) -> str:
    return "channel" if group_size == "channel" else f"g{group_size}"


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
    components: components with a scheme of their own, "none", or a scheme with a group size of its
        own ("W4A16 g32").
    layers: the same for fused groups (see fused_groups.py), by shell-like patterns of their names
        ("decoder.layers.[0-2].*"). Later ones win over earlier ones, and all over components.
    emulate: write the dequantized weights, to prove a scheme that no kernel here serves. Such a
        checkpoint is never promoted.
    dtype: of what is not quantized, and of the scales.
    tuned: how the layers were chosen; it decides nothing of what is made.
    """

    method: Method = "gptq"
    scheme: Scheme = "W4A16"
    group_size: GroupSize = 128
    observer: Literal["minmax", "imatrix"] = "minmax"
    act_order: Literal["static", "none"] = "static"
    dampening: float = Field(0.01, gt=0, lt=1, strict=True)
    components: Mapping[Component, WrittenScheme] = {}
    # Not written where there are none: checkpoints of former versions keep their fingerprints.
    layers: Annotated[
        Mapping[Pattern, WrittenScheme],
        Field(max_length=_MOST_PATTERNS, exclude_if=lambda layers: not layers),
    ] = {}
    emulate: StrictBool = False
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    calibration: Recordings | None = None
    tuned: Annotated[Tuned | None, Field(exclude_if=lambda tuned: tuned is None)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "rtn" and self.calibration is not None:
            raise ValueError("rtn takes no calibration")
        if self.observer == "imatrix" and self.method != "gptq":
            raise ValueError("the imatrix observer goes with gptq")
        for name in ("act_order", "dampening"):
            if self.method != "gptq" and getattr(self, name) != Recipe.model_fields[name].default:
                raise ValueError(f"{name} goes with gptq; {self.method} has none")
        if {*self.schemes.values(), *self.layers.values()} == {"none"}:
            raise ValueError("every component is left alone: nothing would be quantized")
        return self

    @property
    def component_schemes(self) -> dict[Component, LayerScheme]:
        """The scheme of every component, with its group size; layers may have others."""
        whole: dict[Component, str] = dict.fromkeys(get_args(Component), self.scheme)
        written = whole | {"embedding": "none"} | dict(self.components)
        return {name: LayerScheme.read(one, self.group_size) for name, one in written.items()}

    @property
    def schemes(self) -> dict[Component, Scheme | Literal["none"]]:
        """The scheme of every component; layers may have others."""
        return {name: one.scheme for name, one in self.component_schemes.items()}

    @property
    def label(self) -> str:
        """The recipe in short, for people: W4A16 gptq g128."""
        parts = [self.scheme, self.method, _group_name(self.group_size)]
        parts += ["imatrix"] if self.observer == "imatrix" else []
        parts += [f"{name}={scheme}" for name, scheme in sorted(self.components.items())]
        parts += [f"layers={len(self.layers)}"] if self.layers else []
        parts += ["emulated"] if self.emulate else []
        return " ".join(parts)

    def facts(self) -> dict[str, Any]:
        """Return the recipe as JSON for a digest, which sorts an object's keys: the order of
        layers decides, so they are a list. Without what explains them, which decides nothing."""
        found = self.model_dump(mode="json", exclude={"tuned"})
        return found | ({"layers": [*self.layers.items()]} if self.layers else {})
