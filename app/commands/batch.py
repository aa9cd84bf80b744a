"""Which recordings a batch transcribes, and which files their transcripts go to.

talk.mp3 becomes talk.srt beside it, or in the folder that is asked for, where each folder's own
folders are kept. Where two recordings of a folder differ in their suffix alone, each keeps it:
talk.mp3.srt, talk.wav.srt. A recording is done where each file of its is newer than itself.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# What people keep recordings in, of what FFmpeg reads; a folder holds other files too. A file that
# is named itself may have any suffix.
SUFFIXES = {
    ".3gp", ".aac", ".aif", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf",
    ".flac", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov",
    ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv",
    ".opus", ".spx", ".ts", ".tta", ".wav", ".webm", ".wma", ".wmv", ".wv",
}  # fmt: skip
SUFFIX_OF = {
    "text": "txt", "txt": "txt", "srt": "srt", "vtt": "vtt", "json": "json", "verbose_json": "json",
}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """A recording, and the files that its transcript goes to, each by its suffix."""

    path: Path
    targets: dict[str, Path]

    @property
    def is_done(self) -> bool:
        """Whether all of them are there, and newer than the recording. Raises OSError."""
        begun = self.path.stat().st_mtime_ns
        return all(
            target.exists() and target.stat().st_mtime_ns >= begun
            for target in self.targets.values()
        )


@dataclass(frozen=True)
class Batch:
    """What is asked for. named: files and folders. suffixes: of the files of each recording. out:
    the folder of all transcripts; None is beside each recording."""

    named: tuple[Path, ...]
    suffixes: tuple[str, ...]
    out: Path | None = None

    def recordings(self) -> list[Recording]:
        """Return all recordings that are there by now, in order, each once."""
        found: dict[Path, Path] = {}  # to the folder that it is told from
        for named in self.named:
            for path in _below(named) if named.is_dir() else [named]:
                found.setdefault(path, named if named.is_dir() else named.parent)
        bases = {path: self._base(path, root) for path, root in found.items()}
        claimed = Counter(base.with_suffix("") for base in set(bases.values()))
        return [
            Recording(path, self._targets(base, keeps_suffix=claimed[base.with_suffix("")] > 1))
            for path, base in bases.items()
        ]

    def _base(self, path: Path, root: Path) -> Path:
        return self.out / path.relative_to(root) if self.out else path

    def _targets(self, base: Path, *, keeps_suffix: bool) -> dict[str, Path]:
        stem = base.name if keeps_suffix else base.stem
        return {one: base.with_name(f"{stem}.{one}") for one in self.suffixes}


def _below(folder: Path) -> Iterator[Path]:
    """Yield a folder's recordings, and those of the folders in it; what is hidden is left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place) / name


def clashes(recordings: Iterable[Recording]) -> list[Recording]:
    """Return those whose transcript would take the place of another's."""
    taken: set[Path] = set()
    clashing = []
    for one in recordings:
        targets = set(one.targets.values())
        if targets & taken or one.path in targets:
            clashing.append(one)
        taken |= targets
    return clashing


class Settled:
    """Tells which files have stopped growing, by looking at them again and again."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def among(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Return those that are as they were at the last look."""
        looked = {one.path: _state(one.path) for one in recordings}
        settled = [one for one in recordings if self._seen.get(one.path) == looked[one.path]]
        self._seen = {path: state for path, state in looked.items() if state}
        return [one for one in settled if looked[one.path]]


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns
