"""What happened to a job in this process, for those who watch it."""

import asyncio
from typing import Any


class Log:
    """A job's events, and those who wait for more. `end` is there once it is over."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        self._news = asyncio.Event()

    def add(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._wake()

    def close(self, end: dict[str, Any]) -> None:
        self.end = end
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def more(self) -> None:
        await self._news.wait()
