"""A checkpoint that is served: its folder, its recipe, and what /v1/models says of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.checkpoints.content_hashes import HASHES
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import MANIFEST, Entry
from app.sources.source import Source


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can be served.

    fingerprint, recipe: None where the service did not make it.
    provenance: further entries for /v1/models, shown to every client.
    """

    source: Source
    folder: Path
    fingerprint: str | None = None
    recipe: Recipe | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry, **provenance: Any) -> "Checkpoint":
        """Build the checkpoint of a cache entry. Raises ValueError where the entry's manifest is of
        another version."""
        manifest = entry.manifest
        calibration = manifest["figures"].get("calibration")
        facts = {
            "recipe": _without_paths(manifest["recipe"]),
            "calibration": _without_texts(calibration) if calibration else None,
        }
        source = Source(manifest["source"]["name"], entry.folder, manifest["source"]["revision"])
        recipe = Recipe.model_validate(manifest["recipe"])
        return cls(source, entry.folder, entry.fingerprint, recipe, facts | provenance)

    def called(self, source: Source) -> "Checkpoint":
        """Return the same, named after a source as it is called now: it may have been made when
        that was called otherwise."""
        return replace(self, source=replace(source, folder=self.folder, cache=None))

    def known_as(self) -> str:
        """Return what the checkpoint is known by wherever it lies: its source's weights, and what
        was made of them. Blocking: all weights may be read. Raises BadSource."""
        return f"{self._source_weights()} {self.scheme}{self._layers()}"

    def _layers(self) -> str:
        """Return what the label leaves out: the patterns of layers, with their schemes."""
        layers = self.recipe.layers if self.recipe else {}
        return "".join(f" {pattern}={scheme}" for pattern, scheme in layers.items())

    def _source_weights(self) -> str:
        if self.recipe is None:
            return self.source.identity()["weights"]
        manifest = json.loads((self.folder / MANIFEST).read_text("utf-8"))
        known = manifest.get(HASHES, {}).get("source", {})  # a former version's has none
        return str(known.get("weights", "unknown"))

    @property
    def scheme(self) -> str:
        if self.recipe:
            return self.recipe.label
        return "compressed-tensors, as it came" if self.source.quantized else "unquantized"


def _without_texts(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of its calibration, without the words: whoever spoke did not
    speak to clients."""
    return {name: part for name, part in calibration.items() if name != "texts"}


def _without_paths(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's JSON with the last names of its calibration sources, not their paths, and
    without what its bits were chosen from."""
    recipe = {name: part for name, part in recipe.items() if name != "tuned"}
    calibration = recipe.get("calibration")
    if not calibration:
        return recipe
    sources = [one | {"source": _last_name(one["source"])} for one in calibration["sources"]]
    return {**recipe, "calibration": calibration | {"sources": sources}}


def _last_name(source: str) -> str:
    """Return a source's last name. A hub's "id:config:split" is no path and is returned whole."""
    is_path = ":" not in source or source.startswith(("/", "~", "."))
    return Path(source).name if is_path else source
