"""Where large uploads wait: one folder, TMPDIR or /tmp, for as long as the process lives.

Python's `tempfile` looks for a folder when it first needs one, and where TMPDIR is full goes on to
/tmp, which in a container is memory, and to the working folder.
"""

import errno
import logging
import os
from functools import cache
from tempfile import SpooledTemporaryFile, TemporaryFile

from starlette.formparsers import MultiPartParser

from app.errors import UploadFolderUnusable

log = logging.getLogger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@cache
def spool_folder() -> str:
    """Absolute, and the same from the first call on."""
    return os.path.abspath(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108  the system's own


def check_spool_folder() -> None:
    """Raises UploadFolderUnusable where the folder cannot be written. One that is only full may be
    so for a while: large uploads are then UploadNotStored."""
    folder = spool_folder()
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise UploadFolderUnusable(
                f"Large uploads cannot be kept in {folder}: {error.strerror}.",
                "Set TMPDIR to a folder that the service can write to.",
            ) from error
        log.warning("%s is full: large uploads are answered 503 until it is not", folder)


def spooled_file() -> SpooledTemporaryFile[bytes]:
    """Return a file that is in memory while it is small, else in the folder."""
    return SpooledTemporaryFile(max_size=MultiPartParser.spool_max_size, dir=spool_folder())


class SpoolingParser(MultiPartParser):
    """Keeps large files in the folder. `head` goes before the bytes of the file `recording`."""

    recording = "file"
    head = b""

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if (upload := self._current_part.file) is not None:
            upload.file.close()
            file = upload.file = self._files_to_close_on_error[-1] = spooled_file()  # type: ignore[assignment]
            if self.head and self._current_part.field_name == self.recording:
                file.write(self.head)
