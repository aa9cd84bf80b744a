"""A checkpoint as it is served: where it lies, how it was made, and what clients are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.checkpoints.recipe import Recipe
from app.checkpoints.source import Source
from app.checkpoints.store import Entry


@dataclass(frozen=True)
class Checkpoint:
    """What is served. `fingerprint` and `recipe` are None where it was not made here; `provenance`
    is what else /v1/models tells of it, to every client."""

    source: Source
    folder: Path
    fingerprint: str | None = None
    recipe: Recipe | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry, **provenance: Any) -> "Checkpoint":
        """Raises ValueError where the entry's manifest is of another version."""
        manifest = entry.manifest
        heard = manifest["figures"].get("calibration")
        facts = {
            "recipe": _without_paths(manifest["recipe"]),
            "calibration": _without_texts(heard) if heard else None,
        }
        source = Source(manifest["source"]["name"], entry.folder, manifest["source"]["revision"])
        recipe = Recipe.model_validate(manifest["recipe"])
        return cls(source, entry.folder, entry.fingerprint, recipe, facts | provenance)

    @property
    def scheme(self) -> str:
        if self.recipe:
            return self.recipe.label
        return "compressed-tensors, as it came" if self.source.quantized else "unquantized"


def _without_texts(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """What was calibrated on, without a word of it: whoever spoke did not speak to clients."""
    return {name: part for name, part in calibration.items() if name != "texts"}


def _without_paths(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's JSON with the last names of what it calibrates on, not where that lies."""
    calibration = recipe.get("calibration")
    if not calibration:
        return dict(recipe)
    sources = [one | {"source": _last_name(one["source"])} for one in calibration["sources"]]
    return {**recipe, "calibration": calibration | {"sources": sources}}


def _last_name(source: str) -> str:
    """A hub's "id:config:split" is no path, and tells of nothing here."""
    is_path = ":" not in source or source.startswith(("/", "~", "."))
    return Path(source).name if is_path else source
