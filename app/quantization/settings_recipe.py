"""The recipe that the settings ask for, and what they leave to the model's size and the device.

Small Whispers lose more by four bits than large ones do, and on a processor eight bits are faster:
docs/quantization.md says what of that was measured, on whisper-base, and what is reasoned.
"""

from pathlib import Path
from typing import Any, Literal

from app.checkpoints.recipe import Component, Recipe, Scheme
from app.checkpoints.schemes import refusal
from app.environment import DEMO, DEMO_MODEL
from app.errors import BadRecipe
from app.models.base import Device
from app.models.whisper_vllm.tokens import knows_english_alone
from app.recordings.read import read
from app.recordings.spec import Recordings, RecordingSet
from app.settings import Settings
from app.sources.source import Source

_VOICES = DEMO / "recordings" / "voices" / "calibration"
_SMALL = {384, 512, 768}  # d_model of tiny, base and small
_ENCODER_IN_EIGHT: dict[Component, Scheme] = {"encoder.attention": "W8A8", "encoder.mlp": "W8A8"}


def recipe_for(settings: Settings, source: Source, device: Device, **more: Any) -> Recipe:
    """Return the recipe that the settings ask for, and `more` of its fields. Raises BadRecipe."""
    recipe = settings_recipe(settings, source, device, **more)
    check_recipe(recipe, source, device)
    return recipe


def settings_recipe(
    settings: Settings, source: Source | None, device: Device, **more: Any
) -> Recipe:
    """Return the recipe that the settings ask for, whether it can be made or not; for a large model
    where `source` is None, as a hub's checkpoint is not here yet."""
    return _recipe(settings, source, device, settings_fields(settings, source, device) | more)


def possible_recipes(settings: Settings, source: Source | None, device: Device) -> list[Recipe]:
    """Return the recipes that the settings may ask for: several while the model's size is not
    known."""
    found = settings_recipe(settings, source, device)
    if source is not None:
        return [found]
    return [found, _recipe(settings, None, device, _fields(settings, device, is_small=True))]


def _recipe(
    settings: Settings, source: Source | None, device: Device, fields: dict[str, Any]
) -> Recipe:
    learned = fields["method"] != "rtn"
    calibration = {"calibration": default_calibration(settings, source)} if learned else {}
    return Recipe(dtype=dtype_on(device), **calibration | fields)


def settings_fields(
    settings: Settings, source: Source | None, device: Device, *, in_four_bits: bool = False
) -> dict[str, Any]:
    """Return method, scheme, group size and components of that recipe. in_four_bits: whether the
    decoder is to have no more, on whatever device."""
    is_small = source is not None and source.config.get("d_model") in _SMALL
    return _fields(settings, device, is_small=is_small, in_four_bits=in_four_bits)


def _fields(
    settings: Settings, device: Device, *, is_small: bool, in_four_bits: bool = False
) -> dict[str, Any]:
    assert settings.quantization != "none"
    group_size = settings.group_size
    left_open = settings.quantization == "auto"
    small = left_open and is_small
    if small and device == "cpu" and group_size == "auto" and not in_four_bits:
        return {"method": "rtn", "scheme": "W8A8", "components": {"embedding": "W8A8"}}
    if group_size == "auto":
        group_size = 32 if small else 128
    return {
        "method": "gptq" if left_open else settings.quantization,
        "scheme": "W4A16",
        "group_size": group_size,
        "components": _ENCODER_IN_EIGHT if small else {},
    }


def check_recipe(recipe: Recipe, source: Source, device: Device) -> None:
    """Check a recipe against the checkpoint's shape and the device. Raises BadRecipe."""
    why = refusal(recipe, source.config, device)
    if why:
        raise BadRecipe(
            f"{source.name} cannot be {recipe.label}: {why}.",
            "Choose another scheme, or a group size (MARLINSCRIBE_GROUP_SIZE) that fits.",
        )


def dtype_on(device: Device) -> Literal["bfloat16", "float16"]:
    """Return the dtype of what is not quantized: the one that the device's kernels take."""
    return "float16" if device == "cuda" else "bfloat16"


def default_calibration(settings: Settings, source: Source | None) -> Recordings:
    """Return the calibration recordings that the settings ask for; of the bundled ones, a model of
    English alone hears those in English. `source` is None while a hub's checkpoint is not here
    yet."""
    one = RecordingSet(
        source=settings.calibration or str(_bundled(source)), language=settings.calibration_language
    )
    samples = settings.calibration_samples
    if settings.calibration or source is None or not knows_english_alone(source.config):
        return Recordings(sources=(one,), samples=samples)
    every = read(Recordings(sources=(one,), samples=None))
    english = sum(clip.language == "en" for clip in every)
    return Recordings(sources=(one,), samples=min(samples, english), mix={"en": 1})


def bundled_recordings(source: Source) -> Recordings:
    """Return the recordings that are bundled for a source."""
    return Recordings(sources=(RecordingSet(source=str(_bundled(source))),), samples=None)


def _bundled(source: Source | None) -> Path:
    is_demo = source is not None and source.folder == DEMO_MODEL
    return DEMO / "recordings" / "calibration" if is_demo else _VOICES
