"""Deliveries of webhooks: tried until they are received, across restarts."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from app.background.webhooks import (
    MOST_ATTEMPTS,
    Delivery,
    Outcome,
    attempt,
    pause_after,
    secret_bytes,
)
from app.background_metrics import BackgroundMetrics
from app.outbound.addresses import Resolve, resolve
from app.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 16  # attempts: a receiver that never answers holds one for 10 s


class Deliverable(Protocol):
    """A record that keeps what is to be delivered of it."""

    delivery: Delivery | None


D = TypeVar("D", bound=Deliverable)


class Deliveries(Generic[D]):
    """Sends what records have to deliver. For the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        metrics: BackgroundMetrics,
        save: Callable[[D], Awaitable[None]],
        resolving: Resolve = resolve,
    ) -> None:
        """`save` keeps a record as it is now; it may raise OSError."""
        secret = settings.webhook_secret
        self._secret = secret_bytes(secret.get_secret_value()) if secret else None
        self._allow_inside = settings.allow_private_addresses
        self._metrics = metrics
        self._save = save
        self._resolving = resolving
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, record: D) -> None:
        """Deliver what a record has to deliver, if anything."""
        if record.delivery is not None:
            task = asyncio.create_task(self._deliver(record))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave what is not delivered to the next process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, record: D) -> None:
        while (delivery := record.delivery) is not None:
            await asyncio.sleep(max(0.0, delivery.due - time.time()))
            if record.delivery is None:  # given up meanwhile: the record is deleted
                return
            async with self._places:
                outcome = await self._attempt(delivery)
            self._metrics.webhooks.labels(outcome).inc()
            record.delivery = _following(delivery, outcome)
            try:
                await self._save(record)
            except OSError as error:  # a restart tries once more than it should
                log.error("that webhook %s was tried cannot be kept: %s", delivery.id, error)

    async def _attempt(self, delivery: Delivery) -> Outcome:
        if self._secret is None:
            log.warning("webhook %s is not sent: there is no secret any more", delivery.id)
            return "refused"
        return await attempt(
            delivery, self._secret, allow_inside=self._allow_inside, resolving=self._resolving
        )


def _following(delivery: Delivery, outcome: Outcome) -> Delivery | None:
    """Return what is left to be delivered after an attempt."""
    attempts = delivery.attempts + 1
    if outcome != "failed":
        return None
    if attempts >= MOST_ATTEMPTS:
        log.warning("webhook %s is given up after %d attempts", delivery.id, attempts)
        return None
    return replace(delivery, attempts=attempts, due=time.time() + pause_after(attempts))
