"""Promotion: a made checkpoint serves in place of another, and rollback."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from app.audio.decoding import Decoders
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.in_use import CheckpointInUse
from app.checkpoints.schemes import refusal
from app.errors import CacheUnusable, JobConflict
from app.folders import cache_faults
from app.process import in_daemon_thread, run_shielded
from app.quantization import canaries
from app.quantization.builder import CheckpointBuilder, checkpoint_of
from app.quantization.canaries import Canary
from app.quantization.promotion_log import Promotion, PromotionLog
from app.serving.loading import Loader
from app.serving.manager import Check, EngineManager
from app.serving.state import ServedModel
from app.speech.cutting import Cutting

log = logging.getLogger(__name__)


class Promoter:
    """Exchanges the checkpoint of one slot, and remembers what was promoted. One exchange at a
    time. For the event loop's thread."""

    def __init__(
        self,
        loader: Loader,
        manager: EngineManager,
        builder: CheckpointBuilder,
        decoders: Decoders,
    ) -> None:
        self._loader = loader
        self._decoders = decoders
        self._manager = manager
        self._builder = builder
        self._settings = loader.settings.of_model(manager.slot.name)
        is_default = manager.slot.name == next(iter(loader.settings.served_models))
        self._promotions = PromotionLog(self._settings, "" if is_default else manager.slot.name)
        self._in_use = CheckpointInUse()
        self._turn = asyncio.Lock()

    def checkpoint(self, enter: Callable[..., None]) -> Checkpoint:
        """Return what serves from the start: the last promoted checkpoint, or what the settings ask
        for. `enter` is called with the stages. Blocking. Raises StartupError."""
        checkpoint = self._standing(lambda: self._promotions.current, enter)
        self._in_use.take(checkpoint.folder)
        return checkpoint

    @property
    def current(self) -> Promotion | None:
        """What was promoted last, and serves also after a restart."""
        return self._promotions.current

    def check_free(self) -> None:
        """Raises JobConflict where nothing can be exchanged now."""
        if self._turn.locked() or self._manager.busy:
            raise JobConflict("Another checkpoint is being exchanged.", code="exchange_under_way")
        status = self._manager.slot.lifecycle.status
        if not status.answers:
            raise JobConflict(f"The service is not ready ({status.stage}).", code="not_ready")

    async def promote(
        self, promotion: Promotion, flock: Sequence[Canary], *, released_device: bool
    ) -> None:
        """Serve a promotion's checkpoint, if it passes its canaries. `released_device` is as in
        EngineManager. Raises CheckpointGone, NotReady, StartupError; then what served before serves
        again."""

        async def check(model: ServedModel) -> None:
            cutting = Cutting.of(self._settings)
            await canaries.check(model, flock, self._decoders, cutting=cutting)
            # Before a client is let in: what is served and what a restart serves are one.
            with cache_faults(self._loader.settings.cache_dir):
                await run_shielded(self._promotions.push, promotion)

        async with self._turn:
            checkpoint = await in_daemon_thread(self._found, promotion)
            if checkpoint is None:
                raise CheckpointGone(
                    f"The checkpoint {promotion.fingerprint} is gone.", "Make it again."
                )
            await self._exchange(checkpoint, check, released_device=released_device)

    async def roll_back(self) -> Checkpoint:
        """Serve what was served before the last promotion; return that checkpoint. Raises
        JobConflict where nothing was promoted, StartupError."""
        self.check_free()
        async with self._turn:
            demoted = self._promotions.current
            if demoted is None:
                raise JobConflict(
                    "Nothing was promoted that could be rolled back.", code="no_promotion"
                )
            before = partial(self._standing, lambda: self._promotions.before, _quietly)
            checkpoint = await in_daemon_thread(before)

            async def record(_: ServedModel) -> None:
                # Before a client is let in, as `promote` does: a crash after that serves the same.
                # What served before is not proven again.
                try:
                    await run_shielded(self._promotions.pop)
                except OSError as error:  # no reason to go on serving what is to go
                    log.error("a restart will serve %s again: %s", demoted.fingerprint, error)

            await self._exchange(checkpoint, record)
            return checkpoint

    async def _exchange(
        self, checkpoint: Checkpoint, check: Check, *, released_device: bool = False
    ) -> None:
        """Exchange the served checkpoint for another, which nobody deletes from now on."""
        taken = CheckpointInUse()
        await in_daemon_thread(taken.take, checkpoint.folder)
        try:
            await self._manager.exchange(checkpoint, check, released_device=released_device)
        except BaseException:
            taken.release()
            raise
        self._in_use.release()
        self._in_use = taken

    def _standing(
        self, next_one: Callable[[], Promotion | None], enter: Callable[..., None]
    ) -> Checkpoint:
        """Return the first of these promotions that can be served; those before it are forgotten.
        Return what the settings ask for where none can."""
        while promotion := next_one():
            if found := self._found(promotion):
                return found
            log.error("the promoted checkpoint %s is not served any more", promotion.fingerprint)
            self._promotions.forget(promotion)
        loader = self._loader
        return checkpoint_of(self._settings, loader.device, self._builder, enter)

    def _found(self, promotion: Promotion) -> Checkpoint | None:
        """None where it is gone, or cannot be served here."""
        entry = self._builder.store.find(promotion.fingerprint)
        if entry is None:
            return None
        proven = {"job": promotion.job, "proof": promotion.proof}
        try:
            checkpoint = Checkpoint.of(entry, **proven, promoted_at=promotion.since)
        except ValueError as error:
            log.error("%s is of another version: %s", entry.folder.name, error)
            return None
        assert checkpoint.recipe is not None
        why = refusal(checkpoint.recipe, checkpoint.source.config, self._loader.device)
        if why:  # promoted on another device
            log.error("%s cannot be served here: %s", entry.folder.name, why)
            return None
        return checkpoint


class CheckpointGone(CacheUnusable):
    """A promoted checkpoint is no longer in the cache."""


def _quietly(*_: Any, **__: Any) -> None:
    """Ignore stages: the service is ready meanwhile, so they are not shown."""
