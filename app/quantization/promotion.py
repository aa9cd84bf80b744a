"""Serving a made checkpoint in place of another, and going back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.schemes import refusal
from app.errors import CacheUnusable, JobConflict
from app.process import in_daemon_thread, run_shielded
from app.quantization import canaries
from app.quantization.builder import CheckpointBuilder, cache_faults, checkpoint_of
from app.quantization.canaries import Canary
from app.quantization.promotion_log import Promotion, PromotionLog
from app.serving.lifecycle import Lifecycle
from app.serving.loading import LoadedModel, Loader
from app.serving.manager import EngineManager

log = logging.getLogger(__name__)


class Promoter:
    """One exchange at a time. For the event loop's thread."""

    def __init__(
        self, loader: Loader, host: EngineManager, startup: Lifecycle, maker: CheckpointBuilder
    ) -> None:
        self._loader = loader
        self._host = host
        self._startup = startup
        self._maker = maker
        self._promotions = PromotionLog(loader.settings)
        self._turn = asyncio.Lock()

    def checkpoint(self, enter: Callable[..., None]) -> Checkpoint:
        """What is to be served from the start: the last promoted, or what the settings ask for.
        `enter` hears of the stages. Blocking. Raises StartupError."""
        return self._standing(lambda: self._promotions.current, enter)

    def check_free(self) -> None:
        """Raises JobConflict where nothing can be exchanged now."""
        if self._turn.locked() or self._host.busy:
            raise JobConflict("Another checkpoint is being exchanged.", code="exchange_under_way")
        if not self._startup.status.answers:
            raise JobConflict(
                f"The service is not ready ({self._startup.status.stage}).", code="not_ready"
            )

    async def promote(
        self, promotion: Promotion, flock: Sequence[Canary], *, released_device: bool
    ) -> None:
        """Serve its checkpoint, if the canaries are heard. Waits for its turn; `released_device`
        as EngineManager has it. Raises CheckpointGone, NotReady, StartupError; then what served
        before serves again."""

        async def check(service: LoadedModel) -> None:
            await canaries.check(service, flock)
            # Before a client is let in: what is served and what a restart serves are one.
            with cache_faults(self._loader.settings.cache_dir):
                await run_shielded(self._promotions.push, promotion)

        async with self._turn:
            checkpoint = await in_daemon_thread(self._found, promotion)
            if checkpoint is None:
                raise CheckpointGone(
                    f"The checkpoint {promotion.fingerprint} is gone.", "Make it again."
                )
            await self._host.exchange(checkpoint, check, released_device=released_device)

    async def roll_back(self) -> Checkpoint:
        """Serve what was served before the last promotion; what that is. Raises JobConflict where
        nothing was promoted, StartupError."""
        self.check_free()
        async with self._turn:
            demoted = self._promotions.current
            if demoted is None:
                raise JobConflict(
                    "Nothing was promoted that could be rolled back.", code="no_promotion"
                )
            before = partial(self._standing, lambda: self._promotions.before, _quietly)
            checkpoint = await in_daemon_thread(before)
            await self._host.exchange(checkpoint, _unchecked)
            try:
                await run_shielded(self._promotions.pop)
            except OSError as error:
                log.error("a restart will serve %s again: %s", demoted.fingerprint, error)
            return checkpoint

    def _standing(
        self, next_one: Callable[[], Promotion | None], enter: Callable[..., None]
    ) -> Checkpoint:
        """The first of these promotions that can be served; those before it are forgotten. What
        the settings ask for where none can."""
        while promotion := next_one():
            if found := self._found(promotion):
                return found
            log.error("the promoted checkpoint %s is not served any more", promotion.fingerprint)
            self._promotions.forget(promotion)
        loader = self._loader
        return checkpoint_of(loader.settings, loader.device, self._maker, enter)

    def _found(self, promotion: Promotion) -> Checkpoint | None:
        """None where it is gone, or cannot be served here."""
        entry = self._maker.store.find(promotion.fingerprint)
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
    """Somebody emptied the cache."""


def _quietly(*_: Any, **__: Any) -> None:
    """The service is ready meanwhile, so its stages are not told."""


async def _unchecked(_: LoadedModel) -> None:
    """What served before is not proven again."""
