"""What has come so far and what comes, for any number of followers, whenever they come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Replay(Generic[T]):
    """For the event loop's thread. `most` is how many items are kept, the newest; all where it is
    None."""

    def __init__(self, *, over: bool = False, most: int | None = None) -> None:
        self._items: list[T] = []
        self._forgotten = 0  # items that came before the first of these
        self._most = most
        self._over = over
        self._news = asyncio.Event()

    def add(self, item: T) -> None:
        self._items.append(item)
        if self._most is not None and len(self._items) >= 2 * self._most:
            # Many at once: a list's front is dear to drop from.
            del self._items[: -self._most]
            self._forgotten += self._most
        self._wake()

    def close(self) -> None:
        """Nothing more comes, unless it is opened again."""
        self._over = True
        self._wake()

    def open(self) -> None:
        self._over = False

    @property
    def kept(self) -> Sequence[T]:
        """What is kept of what has come so far."""
        return self._items

    async def follow(self) -> AsyncGenerator[T]:
        """From the first that is kept on, until it is over."""
        told = 0
        while told < self._came or not self._over:
            if told == self._came:
                await self._news.wait()
            else:
                told = max(told, self._forgotten)
                yield self._items[told - self._forgotten]
                told += 1

    @property
    def _came(self) -> int:
        return self._forgotten + len(self._items)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
