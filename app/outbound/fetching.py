"""Recordings that are fetched from an address that a client names, bounded in bytes and time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import httpx

from app.errors import BadField, UploadTooLarge
from app.outbound.addresses import AddressRefused, Resolve, resolve
from app.outbound.requests import checked, sent
from app.settings import Settings

_PIECE = 2**18  # bytes
_FAILED = "fetch_failed"


@dataclass(frozen=True)
class Fetching:
    """What may be fetched."""

    most_bytes: int
    seconds: float
    allow_inside: bool
    resolving: Resolve = resolve

    @classmethod
    def of(cls, settings: Settings, param: str, resolving: Resolve = resolve) -> "Fetching":
        """Return what the settings allow. Raises BadField where they allow nothing."""
        if not settings.fetch_urls:
            raise BadField(
                f"{param!r}: this server fetches no recordings (MARLINSCRIBE_FETCH_URLS).",
                param=param,
            )
        return cls(
            settings.max_upload_bytes,
            settings.fetch_seconds,
            settings.allow_private_addresses,
            resolving,
        )

    async def fetch(
        self, url: str, sink: BinaryIO, param: str, on_bytes: Callable[[int], None] = lambda _: None
    ) -> str:
        """Write what is at an address into a file, in a thread; return its last name. `on_bytes` is
        called with how many came, and may raise. Raises BadField, UploadTooLarge."""
        try:
            parsed = checked(url, allow_inside=self.allow_inside)
            async with asyncio.timeout(self.seconds):
                await self._copy(parsed, sink, param, on_bytes)
        except AddressRefused as error:
            raise BadField(f"{param!r} cannot be fetched: {error}", param=param) from error
        except TimeoutError as error:
            message = f"{param!r} was not fetched within {self.seconds:g} s."
            raise BadField(message, param=param, code=_FAILED) from error
        except httpx.HTTPError as error:
            message = f"{param!r} cannot be fetched: {type(error).__name__}."
            raise BadField(message, param=param, code=_FAILED) from error
        return parsed.path.rpartition("/")[2]

    async def _copy(
        self, url: httpx.URL, sink: BinaryIO, param: str, on_bytes: Callable[[int], None]
    ) -> None:
        asked = sent("GET", url, allow_inside=self.allow_inside, resolving=self.resolving)
        came = 0
        async with asked as answer:
            if answer.status_code != 200:
                message = f"{param!r} cannot be fetched: it was answered {answer.status_code}."
                raise BadField(message, param=param, code=_FAILED)
            async for piece in answer.aiter_raw(_PIECE):
                came += len(piece)
                if came > self.most_bytes:
                    message = f"{param!r} is larger than {self.most_bytes} bytes."
                    raise UploadTooLarge(message, param=param)
                on_bytes(len(piece))
                await asyncio.to_thread(sink.write, piece)
