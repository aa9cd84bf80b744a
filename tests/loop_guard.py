"""What blocks an event loop's thread, caught in the act: files of a test's folder that are opened
there, what is written through to the disk, processes that are started."""

import asyncio
import inspect
import os
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
_APP, _TESTS = (str(_REPOSITORY / name) + os.sep for name in ("app", "tests"))
_CHILD = str(_REPOSITORY / "app" / "audio" / "child.py")
_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class LoopGuard:
    """`caught` is what blocked a loop; None while nobody looks."""

    def __init__(self):
        self.caught, self.folder = None, ""
        sys.addaudithook(self._on_event)  # there is no taking it back

    def check(self, what):
        if self.caught is None or asyncio._get_running_loop() is None:
            return
        if where := _blocker(sys._getframe(1)):
            self.caught.append(f"{what} in {where}")

    def _on_event(self, event, arguments):
        if event == "open" and str(arguments[0]).startswith(self.folder or "//"):
            self.check(f"{arguments[0]} is opened")
        # A decoder is started on the loop's thread on purpose: it ends with the thread that starts
        # it, and that one lasts.
        elif event == "subprocess.Popen" and not _starts_a_decoder(sys._getframe()):
            self.check(f"{arguments[0]} is started")


def _starts_a_decoder(frame):
    while frame is not None and frame.f_code.co_filename != _CHILD:
        frame = frame.f_back
    return frame is not None


def _blocker(frame):
    """The coroutine, or the callback, of the app that waits; None where a test waits itself."""
    last = None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith((_APP, _TESTS)):
            last = f"{name}:{frame.f_lineno} {frame.f_code.co_name}"
            if frame.f_code.co_flags & _COROUTINE:
                return last if name.startswith(_APP) else None
        frame = frame.f_back
    return last if last and last.startswith(_APP) else None


GUARD = LoopGuard()
