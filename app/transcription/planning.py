"""Which windows a recording is decoded in: of a whole one, or of one that is still coming."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from app.audio.incoming import Incoming, NoMoreComes
from app.audio.recording import RecordingFile
from app.audio.waveform import Waveform
from app.process import in_daemon_thread
from app.replay import Replay
from app.speech.cutting import Cutting, cut, cut_incoming
from app.speech.stretches import VadOptions
from app.speech.windows import Window
from app.transcription.results import Options

# From which a file is cut while it is still being decoded: half a minute of Opus.
_FOLLOWED_BYTES = 2**17


class Plan:
    """The windows that a recording is decoded in, to which more may come until it is completed. For
    the event loop's thread.

    window_seconds: what is decoded at once, at the most. is_searched: whether somebody looks for
    speech in it. seconds: how long the recording lasts, once that is known.
    """

    def __init__(self, window_seconds: float, *, is_searched: bool) -> None:
        self.window_seconds = window_seconds
        self.is_searched = is_searched
        self.seconds = 0.0
        self.decoded_seconds = 0.0  # how much of it is decoded, by the windows so far
        self._windows: Replay[Window] = Replay()

    @property
    def windows(self) -> Sequence[Window]:
        """Those so far, in order."""
        return self._windows.kept

    def add(self, window: Window) -> None:
        """Take the next window."""
        self.decoded_seconds += window.duration_ms / 1000
        self._windows.add(window)

    def complete(self, seconds: float) -> None:
        """No more windows come; take how long the recording lasts."""
        self.seconds = seconds
        self._windows.close()

    def follow(self) -> AsyncGenerator[Window]:
        """Yield every window, also those to come."""
        return self._windows.follow()


async def plan(wave: Waveform, options: Options, cutting: Cutting) -> Plan:
    """Look for speech, and cut. In a thread where there is something to search: hours of it take a
    while."""
    cutting = replace(cutting, vad=_vad(cutting, options))
    if cutting.vad is None and wave.seconds <= cutting.window_seconds:
        windows = [Window.of(0, wave.pcm)]
    else:
        windows = await asyncio.to_thread(cut, wave, cutting)
    planned = Plan(cutting.window_seconds, is_searched=cutting.vad is not None)
    for window in windows:
        planned.add(window)
    planned.complete(wave.seconds)
    return planned


class Planning:
    """Plans a recording while it is decoded. For the event loop's thread."""

    @classmethod
    def of(
        cls,
        recording: RecordingFile,
        options: Options,
        cutting: Cutting,
        on_window: Callable[[Plan], None],
    ) -> "Planning | None":
        """Return what plans a recording; None where that is not worth a thread, where nobody looks
        for speech, and where each channel has a plan."""
        vad = _vad(cutting, options)
        if vad is None or options.split_channels or recording.size < _FOLLOWED_BYTES:
            return None
        return cls(cutting.window_seconds, vad, on_window)

    def __init__(
        self, window_seconds: float, vad: VadOptions, on_window: Callable[[Plan], None]
    ) -> None:
        """`on_window` is called with each window that the plan gets."""
        self._plan = Plan(window_seconds, is_searched=True)
        self._vad = vad
        self._on_window = on_window
        self._cut: asyncio.Future[None] | None = None
        self._given_up = False

    def follow(self, incoming: Incoming) -> None:
        """Cut the recording in a thread, which ends with it."""
        loop = asyncio.get_running_loop()

        def tell(window: Window) -> None:
            with suppress(RuntimeError):  # the loop is closed: the service ends
                loop.call_soon_threadsafe(self._add, window)

        self._cut = asyncio.ensure_future(in_daemon_thread(self._look, incoming, tell))

    async def completed(self, seconds: float) -> Plan:
        """Wait until all of the recording is cut, which lasts so long. Raises what cutting does."""
        assert self._cut is not None, "nobody decodes the recording"
        await self._cut
        self._plan.complete(seconds)
        return self._plan

    def give_up(self) -> None:
        """Nobody waits for the plan."""
        self._given_up = True
        if self._cut is not None:
            self._cut.cancel()

    def _look(self, incoming: Incoming, tell: Callable[[Window], None]) -> None:
        with suppress(NoMoreComes):
            for window in cut_incoming(incoming, self._plan.window_seconds, self._vad):
                tell(window)

    def _add(self, window: Window) -> None:
        if not self._given_up:
            self._plan.add(window)
            self._on_window(self._plan)


def _vad(cutting: Cutting, options: Options) -> VadOptions | None:
    """Return what counts as speech for a request; None where nobody is to look for it."""
    return options.vad or cutting.vad
