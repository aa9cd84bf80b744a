"""An uploaded or opened recording, before it is decoded, and what of it is to be heard."""

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a recording is decoded. track: which of the container's audio tracks, from 0; None is
    its default. channel: one of the track's, from 0; None is all of them, mixed."""

    track: int | None = None
    channel: int | None = None


EVERYTHING = Selection()


@dataclass(frozen=True)
class RecordingFile:
    """A recording's bytes, in whatever container they came."""

    file: BinaryIO

    @property
    def size(self) -> int:
        """Bytes."""
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        return size

    def digest(self) -> str:
        """The SHA-256 of all bytes. Blocking."""
        digest = hashlib.sha256()
        self.file.seek(0)
        while piece := self.file.read(2**20):
            digest.update(piece)
        self.file.seek(0)
        return digest.hexdigest()
