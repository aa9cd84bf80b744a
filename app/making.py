"""The checkpoint that the settings ask for: found in the cache, or made."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.asr.plan import Device
from app.checkpoints.quantizing import Progress, Quantizer
from app.checkpoints.recipe import Recipe, Recordings, RecordingSet
from app.checkpoints.source import Source, resolve
from app.checkpoints.store import Store
from app.errors import BadSource, CacheUnusable, DiskFull
from app.settings import DEMO, Settings
from app.startup import Stage

log = logging.getLogger(__name__)

_HUB_CALIBRATION = "MLCommons/peoples_speech:clean:train"


@dataclass(frozen=True)
class Checkpoint:
    """What is served. `fingerprint` and `recipe` are None where it was not made here."""

    source: Source
    folder: Path
    fingerprint: str | None
    recipe: Recipe | None

    @property
    def scheme(self) -> str:
        if self.recipe:
            return self.recipe.label
        return "compressed-tensors, as it came" if self.source.quantized else "unquantized"


class Maker:
    """`enter` hears of each stage as Startup.enter does, from the thread that makes."""

    def __init__(self, settings: Settings, device: Device, enter: Callable[..., None]) -> None:
        self._settings = settings
        self._device = device
        self._enter = enter
        self._quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)

    def stop(self) -> None:
        """End the quantizer, if one runs, from another thread."""
        self._quantizer.stop()

    def checkpoint(self) -> Checkpoint:
        """Blocking, perhaps for hours. Raises StartupError."""
        self._enter(Stage.RESOLVING, self._settings.model)
        source = resolve(self._settings.model, lambda detail: self._enter(Stage.RESOLVING, detail))
        if source.quantized or self._settings.quantization == "none":
            return Checkpoint(source, source.folder, None, None)
        recipe = recipe_for(self._settings, source, self._device)
        try:
            return self._made(source, recipe)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (DiskFull if full else CacheUnusable)(
                f"The cache in {self._settings.cache_dir} cannot be used: {error}.",
                "Set MARLINSCRIBE_CACHE_DIR to a folder that can be written and has space.",
            ) from error

    def _made(self, source: Source, recipe: Recipe) -> Checkpoint:
        def on_layer(layer: Progress) -> None:
            self._enter(
                Stage.QUANTIZING, source.name,
                done=layer.done, total=layer.total, eta_seconds=layer.eta_seconds,
            )  # fmt: skip

        def make(out: Path) -> dict[str, Any]:
            log.info("quantizing %s: %s", source.name, recipe.label)
            self._enter(Stage.QUANTIZING, source.name)
            figures = self._quantizer.make(source.folder, out, recipe, on_layer)
            log.info("quantized in %.0f s", figures["seconds"])
            return figures

        entry = Store(self._settings.cache_dir).get_or_make(
            source,
            recipe,
            self._quantizer.versions(),
            make,
            lambda: self._enter(Stage.QUANTIZING, "another process is making it"),
        )
        return Checkpoint(source, entry.folder, entry.fingerprint, recipe)


def recipe_for(settings: Settings, source: Source, device: Device) -> Recipe:
    """The recipe the settings ask for. Raises BadSource where the shape does not allow it."""
    assert settings.quantization != "none"
    width = source.config["d_model"]
    if width % settings.group_size:
        raise BadSource(
            f"{source.name} is {width} wide, which groups of {settings.group_size} do not divide.",
            "Set MARLINSCRIBE_GROUP_SIZE to a size that does: 32 or 64.",
        )
    calibration = None
    if settings.quantization == "gptq":
        own = str(DEMO / "recordings" / "calibration")
        default = own if source.folder.parent == DEMO else _HUB_CALIBRATION
        one = RecordingSet(
            source=settings.calibration or default, language=settings.calibration_language
        )
        calibration = Recordings(sources=(one,), samples=settings.calibration_samples)
    return Recipe(
        method=settings.quantization,
        group_size=settings.group_size,
        dtype="float16" if device == "cuda" else "bfloat16",
        calibration=calibration,
    )
