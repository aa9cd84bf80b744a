"""The log of a recording's finished windows, a line each, which survives a kill at any moment."""

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from app.background.kept import AS_JSON
from app.transcription.finished import FinishedWindow

log = logging.getLogger(__name__)

_WINDOWS = TypeAdapter(list[FinishedWindow], config=AS_JSON)

Place = tuple[int, int]  # channel and number, both from 0


class WindowLog:
    """Keeps finished windows in a file of JSON lines. The first line has the digest of what was
    cut and how: windows of anything else count for nothing.

    One thread writes, and syncs to the disk; whatever finished meanwhile is written together.
    """

    def __init__(self, path: Path, writer: ThreadPoolExecutor) -> None:
        self._path = path
        self._writer = writer
        self._listeners: list[Callable[[Place], None]] = []
        self._digest = ""
        self._windows: dict[Place, FinishedWindow] = {}
        self._pending: deque[bytes] = deque()
        self._writing: Future[None] | None = None
        self._failure: OSError | None = None

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def places(self) -> list[Place]:
        return list(self._windows)

    def listen(self, listener: Callable[[Place], None]) -> None:
        """Call `listener` with the place of each window that is kept from now on."""
        self._listeners.append(listener)

    def read(self) -> None:
        """Read what is there; the end of a line that was being written counts for nothing.
        Blocking. Raises OSError."""
        self._digest, self._windows = "", {}
        if not self._path.exists():
            return
        lines = self._path.read_bytes().split(b"\n")[:-1]
        try:
            self._digest = json.loads(lines[0])["digest"] if lines else ""
            for line in lines[1:]:
                entry = json.loads(line)
                (window,) = _WINDOWS.validate_python(entry["windows"])
                self._windows[entry["channel"], entry["number"]] = window
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is of another version, or damaged: %s", self._path, error)
            self._digest, self._windows = "", {}

    def begin(self, digest: str) -> None:
        """Go on with the log where it is of the same `digest`, else begin it anew. Blocking. Raises
        OSError."""
        if digest != self._digest:
            self._digest, self._windows = digest, {}
            self._path.unlink(missing_ok=True)
            self._append(json.dumps({"digest": digest}).encode() + b"\n")
            return
        whole = self._path.read_bytes()
        os.truncate(self._path, whole.rfind(b"\n") + 1)  # behind a kill in the middle of a line

    def of_channel(self, channel: int) -> "ChannelWindows":
        return ChannelWindows(self, channel)

    def find(self, place: Place) -> FinishedWindow | None:
        return self._windows.get(place)

    def keep(self, place: Place, window: FinishedWindow) -> None:
        """Keep a window. Raises OSError where one before it could not be kept."""
        if self._failure:
            raise self._failure
        self._windows[place] = window
        self._pending.append(_line(place, window))
        self._writing = self._writer.submit(self._write)
        for listener in self._listeners:
            listener(place)

    def flush(self) -> None:
        """Wait until all is on the disk. Blocking. Raises OSError where it is not."""
        if self._writing:
            self._writing.result()
        if self._failure:
            raise self._failure

    def _write(self) -> None:
        lines = [self._pending.popleft() for _ in range(len(self._pending))]
        try:
            if lines:
                self._append(b"".join(lines))
        except OSError as error:  # told to whoever keeps the next, or flushes
            self._failure = error

    def _append(self, content: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


class ChannelWindows:
    """One channel's windows in a log. Implements app.transcription.finished.FinishedWindows."""

    def __init__(self, windows: WindowLog, channel: int) -> None:
        self._windows = windows
        self._channel = channel

    def find(self, number: int) -> FinishedWindow | None:
        return self._windows.find((self._channel, number))

    def keep(self, number: int, window: FinishedWindow) -> None:
        self._windows.keep((self._channel, number), window)


def _line(place: Place, window: FinishedWindow) -> bytes:
    channel, number = place
    entry: dict[str, Any] = {"channel": channel, "number": number}
    head = json.dumps(entry)[:-1].encode()
    return head + b', "windows": ' + _WINDOWS.dump_json([window]) + b"}\n"
