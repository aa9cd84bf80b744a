"""A recording with its words."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.audio.decode import decode
from app.audio.decoding import Decoders
from app.audio.waveform import Waveform
from app.errors import NoCalibration, RequestError
from app.recordings.word_times import TimedWord

WINDOW_SECONDS = 30.0
ADVICE = (
    "Set MARLINSCRIBE_CALIBRATION (make serve CALIBRATION=…) to a folder or manifest of "
    "recordings with their text, or MARLINSCRIBE_QUANTIZATION=rtn, which needs none."
)


@dataclass(frozen=True)
class Clip:
    """A recording of at most 30 s. `timed` are its sentences as (start s, end s, text), `words` its
    words, if known."""

    audio: Path | bytes
    text: str
    language: str
    timed: tuple[tuple[float, float, str], ...] = ()
    words: tuple[TimedWord, ...] = ()

    @property
    def name(self) -> str:
        return self.audio.name if isinstance(self.audio, Path) else "(from a hub)"

    def content(self) -> bytes:
        """Return the file's bytes. Raises NoCalibration."""
        try:
            return self.audio if isinstance(self.audio, bytes) else self.audio.read_bytes()
        except OSError as error:
            raise NoCalibration(f"{self.audio!s} cannot be read: {error}.", ADVICE) from error

    def waveform(self) -> Waveform:
        """Decode the file. Raises NoCalibration, naming the file, also where it is over 30 s."""
        with self._faults(), self._open() as file:
            return decode(file, max_seconds=WINDOW_SECONDS)

    async def decoded(self, decoders: Decoders) -> Waveform:
        """Like `waveform`, by others. Raises Unavailable, too."""
        with self._faults(), await asyncio.to_thread(self._open) as file:
            return await decoders.decode(file, max_seconds=WINDOW_SECONDS)

    def _open(self) -> IO[bytes]:
        return io.BytesIO(self.audio) if isinstance(self.audio, bytes) else self.audio.open("rb")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (RequestError, OSError) as error:
            name = self.audio if isinstance(self.audio, Path) else "a hub recording"
            raise NoCalibration(f"Calibration recording {name}: {error}", ADVICE) from error
