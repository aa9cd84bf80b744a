"""A choice of bits as a recipe."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.checkpoints.device import described
from app.checkpoints.fused_groups import layer_schemes, parts
from app.checkpoints.recipe import LayerScheme, Recipe
from app.checkpoints.tuned import Point, Tuned
from app.errors import BadRecipe
from app.tuning.findings import Findings
from app.tuning.options import Chosen
from app.tuning.wish import Tuning


def schemes_of(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the scheme of each fused group under a recipe, as it is written."""
    return {name: str(scheme) for name, scheme in layer_schemes(recipe, config).items()}


def layers_of(schemes: Mapping[str, str]) -> dict[str, str]:
    """Return patterns that give each group its scheme: of each kind of group what most layers have,
    then the layers that differ, for later patterns win."""
    kinds: dict[str, dict[str, str]] = {}
    for name, scheme in schemes.items():
        stack, _, part = parts(name)
        kinds.setdefault(f"{stack}.layers.*.{part}", {})[name] = scheme
    usual = {kind: Counter(own.values()).most_common(1)[0][0] for kind, own in kinds.items()}
    others = {
        name: scheme
        for kind, own in kinds.items()
        for name, scheme in own.items()
        if scheme != usual[kind]
    }
    return usual | others


def recipe_of(found: Tuning, findings: Findings) -> Recipe:
    """Return the recipe of a choice. Raises BadRecipe where nothing is to be quantized."""
    schemes = found.schemes
    several = Counter(scheme for scheme in schemes.values() if scheme != "none")
    if not several:
        raise BadRecipe(
            "Within these limits nothing is gained by quantizing.",
            "Serve the source as it is (MARLINSCRIBE_QUANTIZATION=none), or allow more loss.",
        )
    four_bits = any(scheme.startswith("W4") for scheme in several)
    # The scheme that most have is the recipe's, which names it; the layers say it all.
    usual = LayerScheme.read(several.most_common(1)[0][0], "channel")
    groups = {} if usual.group_size == "channel" else {"group_size": usual.group_size}
    return Recipe.model_validate(
        {
            # Eight bits lose next to nothing by rounding, which takes seconds.
            "method": "gptq" if four_bits else "rtn",
            "scheme": usual.scheme,
            **groups,
            # One scheme for all needs no layers: such a recipe may have been made before.
            "layers": layers_of(schemes) if len({*schemes.values()}) > 1 else {},
            "dtype": findings.facts["dtype"],
            "tuned": record(found, findings),
        }
    )


def record(found: Tuning, findings: Findings) -> Tuned:
    """Return what explains a choice wherever its recipe goes."""
    return Tuned(
        scenario=found.wish.scenario,
        device=findings.device,
        device_name=described(findings.facts),
        clip_seconds=found.wish.clip_seconds,
        at_once=found.wish.at_once,
        limits=found.limits,
        chosen=_point(found.choice),
        front=tuple(map(_point, found.front)),
        uniform={name: _point(one) for name, one in found.uniform.items()},
    )


def _point(one: Chosen) -> Point:
    return Point(seconds=one.seconds, bytes=one.bytes, loss=one.loss)
