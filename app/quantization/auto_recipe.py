"""A recipe that is yet to be chosen, by what is measured on this device: "scheme": "auto"."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.checkpoints.recipe import Recipe
from app.errors import BadField
from app.recordings.spec import Above0, Plain, Recordings
from app.tuning.cost import Scenario
from app.tuning.groups import groups_of
from app.tuning.options import least_bytes
from app.tuning.wish import Wish, card_bytes


class AutoRecipe(Plain):
    """A recipe whose bits by layer, groups and method are chosen for a scenario, by what is
    measured on this device.

    scenario: what is to be least: the time of one window alone (latency), that of each of 16 at
        once (throughput), or the bytes of the weights (memory).
    vram_gb: the weights fit a card with so much memory.
    most_bytes: the most that the weights may take.
    most_seconds: the most that a clip may take, of clip_seconds of speech.
    most_loss: the most loss expected, in nats a token; else that of the default in four bits.
    calibration: what losses are scored by, and what is learned from where the method learns.
    """

    scheme: Literal["auto"]
    scenario: Scenario
    vram_gb: Above0 | None = None
    most_bytes: Above0 | None = None
    most_seconds: Above0 | None = None
    most_loss: Above0 | None = None
    clip_seconds: Above0 = 10.0
    calibration: Recordings | None = None

    def wish(self, config: Mapping[str, Any]) -> Wish:
        """Return what is wished for of a source with this config.json; of two limits on bytes, the
        tighter. Raises BadField where no choice keeps it, whatever is measured."""
        room = self._room(config, self.vram_gb) if self.vram_gb else None
        sizes = {"vram_gb": room, "most_bytes": self.most_bytes}
        limits = {name: size for name, size in sizes.items() if size is not None}
        least = least_bytes(config, groups_of(config))
        for name, size in limits.items():
            if size < least:
                raise BadField(
                    f"Nothing fits: {size / 1e6:.1f} MB of weights at most are asked for, the "
                    f"least that would do is {least / 1e6:.1f} MB.",
                    param=f"recipe.{name}",
                )
        most = min(limits.values(), default=None)
        return Wish(self.scenario, self.clip_seconds, self.most_seconds, most, self.most_loss)

    def _room(self, config: Mapping[str, Any], gigabytes: float) -> float:
        """Return the bytes that a card has for weights. Raises BadField where there are none."""
        room = card_bytes(config, gigabytes)
        if room <= 0:
            raise BadField(
                f"A card of {gigabytes:g} GB has no room for one window of this model, whatever "
                "its weights take. Take a smaller model, or a larger card.",
                param="recipe.vram_gb",
            )
        return room

    def facts(self) -> dict[str, Any]:
        """Return the recipe as JSON for a digest."""
        return self.model_dump(mode="json")


def _read(given: Any) -> Recipe | AutoRecipe:
    """Return either recipe. Raises ValidationError, of fields of the other one too."""
    if isinstance(given, Recipe | AutoRecipe):
        return given
    if not isinstance(given, Mapping):
        return Recipe.model_validate(given)
    if given.get("scheme") == "auto":
        _refuse(given, AutoRecipe, 'scheme "auto" chooses it: leave it out')
        return AutoRecipe.model_validate(given)
    _refuse(given, Recipe, 'it goes with scheme "auto" alone')
    return Recipe.model_validate(given)


def _refuse(given: Mapping[str, Any], kind: type[Plain], why: str) -> None:
    """Refuse fields that only the other kind of recipe has. Raises ValidationError."""
    others = {*Recipe.model_fields, *AutoRecipe.model_fields} - {*kind.model_fields}
    found = [name for name in given if name in others]
    if found:
        faults = [
            InitErrorDetails(
                type=PydanticCustomError("contradiction", "{why}", {"why": why}),
                loc=(name,),
                input=given[name],
            )
            for name in found
        ]
        raise ValidationError.from_exception_data("recipe", faults)


AnyRecipe = Annotated[
    Recipe | AutoRecipe, BeforeValidator(_read, json_schema_input_type=Recipe | AutoRecipe)
]
