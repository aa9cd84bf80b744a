"""Who decodes: what decodes recordings beside the event loop, wherever it does so."""

import asyncio
from typing import IO, Protocol

from app.audio.decode import decode
from app.audio.waveform import Waveform


class Decoders(Protocol):
    """Decode recordings for the event loop. See pool.DecoderPool."""

    async def decode(self, file: IO[bytes], *, max_seconds: float) -> Waveform: ...


class InThisProcess:
    """Decodes in a thread of this process: for whoever runs it with recordings of their own."""

    async def decode(self, file: IO[bytes], *, max_seconds: float) -> Waveform:
        """Like decode.decode, in a thread."""
        return await asyncio.to_thread(decode, file, max_seconds=max_seconds)
