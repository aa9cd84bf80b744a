"""Recordings with their words, from a manifest, a folder or the hub."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.asr.languages import code_of
from app.audio.decode import decode
from app.audio.waveform import Waveform
from app.checkpoints.recipe import Calibration
from app.errors import NoCalibration, RequestError

_MANIFESTS = ("manifest.jsonl", "manifest.csv", "metadata.jsonl", "metadata.csv")
_AUDIO = {".wav", ".mp3", ".flac", ".m4a", ".mp4", ".ogg", ".oga", ".opus", ".webm"}
_WINDOW_SECONDS = 30.0
_ADVICE = (
    "Set MARLINSCRIBE_CALIBRATION (make serve CALIBRATION=…) to a folder or manifest of "
    "recordings with their text, or MARLINSCRIBE_QUANTIZATION=rtn, which needs none."
)


@dataclass(frozen=True)
class Clip:
    """At most 30 s of speech. `timed` are its sentences as (start s, end s, text), if known."""

    audio: Path | bytes
    text: str
    language: str
    timed: tuple[tuple[float, float, str], ...] = ()

    def waveform(self) -> Waveform:
        """Decode it. Raises NoCalibration, naming the file, also where it is over 30 s."""
        try:
            if isinstance(self.audio, bytes):
                return decode(io.BytesIO(self.audio), max_seconds=_WINDOW_SECONDS)
            with self.audio.open("rb") as file:
                return decode(file, max_seconds=_WINDOW_SECONDS)
        except (RequestError, OSError) as error:
            name = self.audio if isinstance(self.audio, Path) else "a hub recording"
            raise NoCalibration(f"Calibration recording {name}: {error}", _ADVICE) from error


def digest(calibration: Calibration) -> str:
    """What `read` gives, as a hash; a hub source is known by its name. Raises NoCalibration."""
    if not _path(calibration).exists():
        return json.dumps(calibration.model_dump())
    mark = hashlib.sha256()
    for clip in read(calibration):
        assert isinstance(clip.audio, Path)
        mark.update(repr((clip.text, clip.language, clip.timed)).encode())
        mark.update(clip.audio.read_bytes())
    return mark.hexdigest()


def _path(calibration: Calibration) -> Path:
    return Path(calibration.source).expanduser()


def read(calibration: Calibration) -> list[Clip]:
    """The first `samples` clips of the source. Raises NoCalibration."""
    path = _path(calibration)
    if path.exists():
        clips = recordings(path, calibration.language)
    elif ":" in calibration.source:
        clips = _hub(calibration)
    else:
        raise NoCalibration(f"There is no calibration source {calibration.source}.", _ADVICE)
    chosen = [clip for clip, _ in zip(clips, range(calibration.samples), strict=False)]
    if not chosen:
        raise NoCalibration(f"{calibration.source} holds no recordings with text.", _ADVICE)
    return chosen


def recordings(path: Path, language: str) -> Iterator[Clip]:
    """Those of a manifest or a folder, in its order; `language` is of those that name none.
    Raises NoCalibration."""
    if path.is_file():
        return _manifest(path, language)
    for name in _MANIFESTS:
        if (path / name).exists():
            return _manifest(path / name, language)
    return _folder(path, language)


def _manifest(path: Path, language: str) -> Iterator[Clip]:
    """Rows of jsonl or csv with `audio` (or `file_name`), `text`, and perhaps `language` and
    `segments`."""
    rows = _rows(path)
    for number, row in enumerate(rows, 1):
        fields = row if isinstance(row, dict) else {}
        name, text = fields.get("audio") or fields.get("file_name"), fields.get("text")
        if not isinstance(name, str) or not isinstance(text, str) or not name or not text:
            raise NoCalibration(f"{path}, row {number}: no audio or no text.", _ADVICE)
        audio = path.parent / name
        if not audio.is_file():
            raise NoCalibration(f"{path}, row {number}: there is no {audio}.", _ADVICE)
        yield Clip(audio, text, _language(fields.get("language") or language), _timed(fields))


def _timed(fields: dict[str, Any]) -> tuple[tuple[float, float, str], ...]:
    """A row's sentences with their times; () where it has none, or none that can be read."""
    segments = fields.get("segments")
    try:
        return tuple((float(start), float(end), str(text)) for start, end, text in segments or ())
    except (TypeError, ValueError):
        return ()


def _language(named: str) -> str:
    """The ISO code of a language as people write it: zh-TW, Chinese."""
    return code_of(named) or named


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
            else:
                yield from (json.loads(line) for line in file if line.strip())
    except (OSError, ValueError) as error:
        raise NoCalibration(f"{path} cannot be read: {error}.", _ADVICE) from error


def _folder(path: Path, language: str) -> Iterator[Clip]:
    """Recordings with their words in a .txt of the same name."""
    for audio in sorted(p for p in path.rglob("*") if p.suffix.lower() in _AUDIO):
        words = audio.with_suffix(".txt")
        if words.exists():
            yield Clip(audio, words.read_text("utf-8").strip(), _language(language))


def _hub(calibration: Calibration) -> Iterator[Clip]:
    """A streamed Hugging Face dataset, "id:config:split"; only what is taken is downloaded."""
    from datasets import Audio, load_dataset  # of the quantizer's overlay

    name, config, split = [*calibration.source.split(":"), "", ""][:3]
    try:
        rows = load_dataset(name, config or None, split=split or "train", streaming=True)
        for row in rows.cast_column("audio", Audio(decode=False)):
            if row.get("duration_ms", 0) <= _WINDOW_SECONDS * 1000:
                audio = row["audio"]["bytes"] or Path(row["audio"]["path"]).read_bytes()
                language = _language(row.get("language") or calibration.language)
                yield Clip(audio, row["text"], language)
    except KeyError as error:
        raise NoCalibration(f"{calibration.source} has no column {error}.", _ADVICE) from error
    except Exception as error:  # the library's errors share no root
        raise NoCalibration(f"{calibration.source} cannot be reached: {error}", _ADVICE) from error
