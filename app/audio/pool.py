"""Decoding in processes of their own: no recording can crash the server or take its memory, and
each can be given up at any moment."""

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

from app.audio import handover
from app.audio.child import Child, ChildFailed, ChildGone, Death
from app.audio.incoming import Follow, followed
from app.audio.recording import EVERYTHING, Selection
from app.audio.waveform import Waveform
from app.errors import (
    AudioTooLong,
    BadField,
    MarlinscribeError,
    RequestError,
    Unavailable,
    UndecodableAudio,
)

log = logging.getLogger(__name__)

MOST_CHANNELS = 8  # as in 7.1; each is held and decoded like a recording by itself
_ERRORS = {error.__name__: error for error in RequestError.__subclasses__()}


class DecoderPool:
    """For the event loop's thread, which must be one that lasts: children end with it."""

    def __init__(self, size: int) -> None:
        """`size` recordings are decoded at once."""
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False

    def start(self) -> None:
        """Start what is missing of the children. They get ready beside everything else."""
        try:
            while not self._closed and len(self._idle) + len(self._busy) < self._size:
                self._idle.append(Child())
        except OSError as error:  # the next recording tries again
            log.error("no decoder can be started: %s", error)

    def close(self) -> None:
        """Kill all children. Blocking, for some milliseconds."""
        self._closed = True
        children = [*self._idle, *self._busy]
        for child in children:
            child.kill()
        for child in children:
            child.end()
        for child in self._idle:  # whoever waits for a busy one hangs up on it
            child.hang_up()
        self._idle.clear()

    async def decode(
        self,
        file: IO[bytes],
        *,
        max_seconds: float,
        selection: Selection = EVERYTHING,
        follow: Follow | None = None,
    ) -> Waveform:
        """Like decode.decode, in a child. A cancellation kills it, and needs not wait for it.
        `follow` gets the samples as they come: see incoming.py. Raises Unavailable where no child
        starts, or somebody else kills one, too."""
        wave, _ = await self._decode(file, max_seconds, selection, follow)
        return wave

    async def decode_channels(
        self, file: IO[bytes], *, max_seconds: float, selection: Selection = EVERYTHING
    ) -> list[Waveform]:
        """Decode each channel by itself. Raises as `decode` does, and BadField where they are too
        many, AudioTooLong where they are together: all of them are held in memory."""
        first, count = await self._decode(file, max_seconds, replace(selection, channel=0))
        if count > MOST_CHANNELS:
            raise BadField(
                f"The recording has {count} channels; at most {MOST_CHANNELS} are split.",
                param="channels",
            )
        if first.seconds * count > max_seconds:
            raise AudioTooLong(
                f"The recording's {count} channels are longer together than {max_seconds:g} s, the "
                "limit of this server.",
                param="file",
            )
        others = [
            (await self._decode(file, max_seconds, replace(selection, channel=channel)))[0]
            for channel in range(1, count)
        ]
        return [first, *others]

    async def _decode(
        self,
        file: IO[bytes],
        max_seconds: float,
        selection: Selection,
        follow: Follow | None = None,
    ) -> tuple[Waveform, int]:
        """Decode once; also return how many channels there are."""
        async with self._places:
            with handover.recording(file) as recording, handover.room(max_seconds) as room:
                with followed(room, follow) as ended:
                    answer = await self._answer(recording, room, max_seconds, selection)
                    if "error" in answer:
                        raise _ERRORS[answer["error"]](answer["message"], param=answer["param"])
                    ended(answer["samples"])
                return Waveform(handover.pcm(room, answer["samples"])), answer["channels"]

    async def _answer(
        self, recording: int, room: int, max_seconds: float, selection: Selection
    ) -> dict[str, Any]:
        while True:
            try:
                return await self._ask(recording, room, max_seconds, selection)
            except ChildGone:  # while it was idle: the system's doing, and not the recording's
                continue
            except (ChildFailed, OSError) as error:
                log.error("no decoder can be started: %s", error)
                raise Unavailable("No recording can be decoded at the moment.") from error

    async def _ask(
        self, recording: int, room: int, max_seconds: float, selection: Selection
    ) -> dict[str, Any]:
        with self._child() as child:
            answer = await child.decode(recording, room, max_seconds, selection)
            if isinstance(answer, Death):
                log.warning("a decoder ended %s", answer)
                raise _error_of(answer)
            if not answer["last"]:
                self._idle.append(child)
            return answer

    @contextmanager
    def _child(self) -> Generator[Child]:
        """One to ask; unless it is idle again afterwards, it is killed and replaced."""
        if self._closed:
            raise ChildFailed("The pool is closed.")
        child = self._idle.pop() if self._idle else Child()
        self._busy.add(child)
        try:
            yield child
        finally:
            self._busy.discard(child)
            if child not in self._idle:
                child.kill()
                child.hang_up()
                threading.Thread(target=child.end, daemon=True).start()
                self.start()


def _error_of(death: Death) -> MarlinscribeError:
    if death.from_outside:
        return Unavailable(
            "The decoder was killed, which is not the recording's doing. Send it again."
        )
    if death.by_processor_time:
        return UndecodableAudio(
            "The recording takes more time to decode than one of its size and length may.",
            param="file",
        )
    return UndecodableAudio(
        "The recording cannot be decoded: it is damaged in a way that ends the decoder.",
        param="file",
    )
