"""What has come so far and what comes, for any number of followers, whenever they come."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class Replay(Generic[T]):
    """For the event loop's thread."""

    def __init__(self, *, over: bool = False) -> None:
        self._items: list[T] = []
        self._over = over
        self._news = asyncio.Event()

    def add(self, item: T) -> None:
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """Nothing more comes, unless it is opened again."""
        self._over = True
        self._wake()

    def open(self) -> None:
        self._over = False

    async def follow(self) -> AsyncGenerator[T]:
        """From the first on, until it is over."""
        told = 0
        while told < len(self._items) or not self._over:
            if told == len(self._items):
                await self._news.wait()
            else:
                yield self._items[told]
                told += 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
