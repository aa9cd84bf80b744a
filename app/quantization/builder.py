"""Building of checkpoints, for a start and for a job: found in the cache, or made."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.content_hashes import check_unchanged, content_hashes
from app.checkpoints.in_use import in_use
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Entry, Store
from app.environment import DEMO_MODEL
from app.errors import BadSource
from app.folders import cache_faults
from app.models.base import Device
from app.quantization.quantizer_process import OnProgress, Progress, Quantizer
from app.quantization.settings_recipe import recipe_for
from app.serving.lifecycle import Stage
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source

log = logging.getLogger(__name__)


class CheckpointBuilder:
    """Finds checkpoints in the store, and has the quantizer make the missing ones. Blocking; one at
    a time. `idle_priority` is that of the processes that make and prove."""

    def __init__(self, settings: Settings, idle_priority: bool = False) -> None:
        self.idle_priority = idle_priority
        self._cache = settings.cache_dir
        self.store = Store(settings.cache_dir)
        python, overlay = settings.quantizer_python, settings.quantizer_overlay
        self.quantizer = Quantizer(python, overlay, idle_priority)

    def stop(self) -> None:
        """End the quantizer, if one runs, from another thread."""
        self.quantizer.stop()

    def make(
        self,
        source: Source,
        recipe: Recipe,
        on_layer: OnProgress,
        on_wait: Callable[[], None] = lambda: None,
        found: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Return the checkpoint's entry, perhaps hours later. `on_layer` is called first with no
        layers, `on_wait` when another process is making the same. `found` is content_hashes() of
        source and calibration, where that is known. Raises StartupError."""
        read = found or content_hashes(source, recipe.calibration)

        def fill(out: Path) -> dict[str, Any]:
            log.info("quantizing %s: %s", source.name, recipe.label)
            on_layer(Progress(0, 0, None))
            figures = self.quantizer.make(source.folder, out, recipe, on_layer)
            # The name says what it was made of.
            check_unchanged(read, content_hashes(source, recipe.calibration), "while it was read")
            log.info("quantized in %.0f s", figures["seconds"])
            return figures

        with cache_faults(self._cache), in_use(source.folder):
            versions = self.quantizer.versions()
            return self.store.get_or_make(source, recipe, versions, fill, on_wait, read)


def checkpoint_of(
    settings: Settings, device: Device, maker: CheckpointBuilder, enter: Callable[..., None]
) -> Checkpoint:
    """Return the checkpoint that the settings ask for. `enter` is called with each stage as
    Lifecycle.enter, from the calling thread. Blocking. Raises StartupError."""

    def on_layer(layer: Progress) -> None:
        enter(
            Stage.QUANTIZING, source.name,
            done=layer.done, total=layer.total, eta_seconds=layer.eta_seconds,
        )  # fmt: skip

    source = _source(settings, enter)
    if source.quantized or settings.quantization == "none":
        return Checkpoint(source, source.folder)
    recipe = recipe_for(settings, source, device)
    entry = maker.make(
        source,
        recipe,
        on_layer,
        lambda: enter(Stage.QUANTIZING, "another process is making it"),
    )
    return Checkpoint.of(entry).called(source)


def _source(settings: Settings, enter: Callable[..., None]) -> Source:
    """Return the source that the settings ask for, or the demo where nobody asked for any and the
    default cannot be had. Raises StartupError."""

    def found(model: str) -> Source:
        enter(Stage.RESOLVING, model)
        return resolve(model, settings.cache_dir, lambda detail: enter(Stage.RESOLVING, detail))

    try:
        return found(settings.model)
    except BadSource as error:
        if not settings.is_model_open:
            raise
        log.warning(
            "%s The bundled demo serves instead, which knows marine radio and no other speech: "
            "start again once the network is there, or set MARLINSCRIBE_MODEL (%s).",
            error.message, settings.model,
        )  # fmt: skip
        return found(str(DEMO_MODEL))
