"""Serving a made checkpoint in place of another, and going back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.checkpoints.schemes import refusal
from app.errors import CacheUnusable, JobConflict
from app.process import in_daemon_thread
from app.quantization import canaries
from app.quantization.canaries import Canary
from app.quantization.making import Checkpoint, Maker, cache_faults, checkpoint_of
from app.quantization.promotions import Promotion, Promotions
from app.serving.hosting import Host
from app.serving.loading import Loader, Service
from app.startup import Stage, Startup

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolledBack:
    """`checkpoint` serves again; `restored` is the promotion it stands on, if it does."""

    demoted: Promotion
    restored: Promotion | None
    checkpoint: Checkpoint


class Promoter:
    """One exchange at a time. For the event loop's thread."""

    def __init__(self, loader: Loader, host: Host, startup: Startup, maker: Maker) -> None:
        self._loader = loader
        self._host = host
        self._startup = startup
        self._maker = maker
        self._promotions = Promotions(loader.settings)
        self._turn = asyncio.Lock()

    @property
    def current(self) -> Promotion | None:
        return self._promotions.current

    def checkpoint(self, enter: Callable[..., None]) -> Checkpoint:
        """What is to be served from the start: the last promoted, or what the settings ask for.
        `enter` hears of the stages. Blocking. Raises StartupError."""
        return self._of(self.current, enter)

    def check_free(self) -> None:
        """Raises JobConflict where nothing can be exchanged now."""
        if self._turn.locked() or self._host.busy:
            raise JobConflict("Another checkpoint is being exchanged.", code="exchange_under_way")
        if self._startup.status.stage is not Stage.READY:
            raise JobConflict(
                f"The service is not ready ({self._startup.status.stage}).", code="not_ready"
            )

    async def promote(
        self, promotion: Promotion, flock: Sequence[Canary], *, made_room: bool
    ) -> Promotion | None:
        """Serve its checkpoint, if the canaries are heard; the promotion it replaces. Waits for
        its turn; `made_room` as Host has it. Raises CheckpointGone, NotReady, StartupError; then
        what served before serves again."""

        async def check(service: Service) -> None:
            await canaries.check(service, flock)
            # Before a client is let in: what is served and what a restart serves are one.
            with cache_faults(self._loader.settings.cache_dir):
                self._promotions.push(promotion)

        async with self._turn:
            checkpoint = await in_daemon_thread(self._found, promotion)
            if checkpoint is None:
                raise CheckpointGone(
                    f"The checkpoint {promotion.fingerprint} is gone.", "Make it again."
                )
            previous = self.current
            await self._host.exchange(checkpoint, check, made_room=made_room)
            return previous

    async def roll_back(self) -> RolledBack:
        """Serve what was served before the last promotion. Raises JobConflict where nothing was
        promoted, StartupError."""
        self.check_free()
        async with self._turn:
            demoted, before = self.current, self._promotions.before
            if demoted is None:
                raise JobConflict(
                    "Nothing was promoted that could be rolled back.", code="no_promotion"
                )
            checkpoint = await in_daemon_thread(self._of, before, _quietly)
            await self._host.exchange(checkpoint, _unchecked)
            try:
                self._promotions.pop()
            except OSError as error:
                log.error("a restart will serve %s again: %s", demoted.fingerprint, error)
        stands = before is not None and before.fingerprint == checkpoint.fingerprint
        return RolledBack(demoted, before if stands else None, checkpoint)

    def _of(self, promotion: Promotion | None, enter: Callable[..., None]) -> Checkpoint:
        """What a promotion stands for; what the settings ask for where there is none, or where
        its checkpoint is gone."""
        found = self._found(promotion) if promotion else None
        if found:
            return found
        if promotion:
            log.error("the promoted checkpoint %s is gone", promotion.fingerprint)
        loader = self._loader
        return checkpoint_of(loader.settings, loader.device, self._maker, enter)

    def _found(self, promotion: Promotion) -> Checkpoint | None:
        entry = self._maker.store.find(promotion.fingerprint)
        if entry is None:
            return None
        proven = {"job": promotion.job, "proof": promotion.proof}
        checkpoint = Checkpoint.of(entry, **proven, promoted_at=promotion.since)
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


async def _unchecked(_: Service) -> None:
    """What served before is not proven again."""
