"""Reading of recordings with their words, from a manifest, a folder or the hub."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from app.errors import NoCalibration
from app.languages import code_of
from app.recordings import hub
from app.recordings.clip import ADVICE, Clip
from app.recordings.known_sets import hub_set, is_hub_set
from app.recordings.spec import Recordings, RecordingSet
from app.recordings.word_times import TimedWord

_MANIFESTS = ("manifest.jsonl", "manifest.csv", "metadata.jsonl", "metadata.csv")
_AUDIO = {".wav", ".mp3", ".flac", ".m4a", ".mp4", ".ogg", ".oga", ".opus", ".webm"}
_MOST_LOOKED_AT = 50  # clips for each one wanted: a stream may never bring the language

T = TypeVar("T")


def digest(wanted: Recordings) -> str:
    """Return a hash of what `read` gives; a hub's set counts by its name, and what lies here beside
    one in full. Raises NoCalibration."""
    mark = hashlib.sha256()
    local = [one for one in wanted.sources if _path(one).exists()]
    if len(local) < len(wanted.sources):
        mark.update(wanted.model_dump_json().encode())
        clips = _in_turn([_clips(one, None) for one in local])
    else:
        clips = iter(read(wanted))
    for clip in clips:
        known = (clip.text, clip.language, clip.timed, *([clip.words] if clip.words else []))
        mark.update(repr(known).encode())
        mark.update(clip.content())
    return mark.hexdigest()


def _path(one: RecordingSet) -> Path:
    return Path(one.source).expanduser()


def read(wanted: Recordings) -> list[Clip]:
    """Return as many clips as are wanted, or all there are where that is less. Raises
    NoCalibration."""
    bound = _MOST_LOOKED_AT * wanted.samples if wanted.mix and wanted.samples else None
    clips = _in_turn([_clips(one, bound) for one in wanted.sources])
    mixed = bool(wanted.mix)
    chosen = _mixed(clips, _quotas(wanted)) if mixed else list(islice(clips, wanted.samples))
    if not chosen:
        sources = ", ".join(one.source for one in wanted.sources)
        raise NoCalibration(f"{sources} holds no recordings with text.", ADVICE)
    return chosen


def nearby(wanted: Recordings) -> list[Clip]:
    """Return the clips that `read` may give and that lie here, beside a hub's: how many the hub has
    is not known yet. Raises NoCalibration."""
    local = [one for one in wanted.sources if _path(one).exists()]
    clips = _in_turn([_clips(one, None) for one in local])
    if not wanted.mix:
        return list(islice(clips, wanted.samples))
    return _taken(clips, dict(_quotas(wanted)))


def _in_turn(streams: list[Iterator[T]]) -> Iterator[T]:
    """Yield the first of each stream, the second of each, … until all are empty."""
    while streams:
        for stream in tuple(streams):
            one = next(stream, None)
            if one is None:
                streams.remove(stream)
            else:
                yield one


def by_turns(languages: Sequence[str], most: int) -> list[int]:
    """Return the numbers of clips, given each clip's language: the first of each language, the
    second of each, … in order."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, language in enumerate(languages):
        numbers[language].append(number)
    return sorted(islice(_in_turn([iter(several) for several in numbers.values()]), most))


def _quotas(wanted: Recordings) -> dict[str, int]:
    """Return how many clips to take of each language. What rounding leaves over goes to the largest
    remainders."""
    assert wanted.samples is not None, "a mix is of a number"
    whole = sum(wanted.mix.values())
    exact: defaultdict[str, float] = defaultdict(float)
    for name, part in wanted.mix.items():
        exact[_language(name)] += wanted.samples * part / whole
    quotas = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: quotas[name] - exact[name])
    for name in by_remainder[: wanted.samples - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _mixed(clips: Iterator[Clip], quotas: dict[str, int]) -> list[Clip]:
    """Return the first clips of each language, up to its quota. Raises NoCalibration where one is
    not met: a mix that became another without a word would make the record false."""
    left = dict(quotas)
    chosen = _taken(clips, left)
    if not any(left.values()):
        return chosen
    found = ", ".join(f"only {quotas[n] - m} of {quotas[n]} in {n}" for n, m in left.items() if m)
    raise NoCalibration(f"The mix lacks recordings: {found}.", "Ask for fewer, or add some.")


def _taken(clips: Iterator[Clip], left: dict[str, int]) -> list[Clip]:
    """Return the first clips of each language, as many as are `left` to take; counts `left`
    down."""
    chosen = []
    for clip in clips:
        if left.get(clip.language, 0):
            left[clip.language] -= 1
            chosen.append(clip)
            if not any(left.values()):
                break
    return chosen


def _clips(one: RecordingSet, bound: int | None) -> Iterator[Clip]:
    """Yield a set's clips. `bound` limits a stream, which has no end."""
    path = _path(one)
    if path.exists():
        return recordings(path, one.language)
    if is_hub_set(one.source):
        return islice(hub.clips(hub_set(one.source), one.language), bound)
    raise NoCalibration(f"There is no calibration source {one.source}.", ADVICE)


def recordings(path: Path, language: str) -> Iterator[Clip]:
    """Yield the recordings of a manifest or a folder, in its order; `language` is of those that
    name none. Raises NoCalibration."""
    if path.is_file():
        return _manifest(path, language)
    for name in _MANIFESTS:
        if (path / name).is_file():
            return _manifest(path / name, language)
    return _folder(path, language)


def _manifest(path: Path, language: str) -> Iterator[Clip]:
    """Yield the rows of jsonl or csv with `audio` (or `file_name`), `text`, and perhaps `language`,
    `segments` and `words`."""
    rows = _rows(path)
    for number, row in enumerate(rows, 1):
        fields = row if isinstance(row, dict) else {}
        name, text = fields.get("audio") or fields.get("file_name"), fields.get("text")
        if not isinstance(name, str) or not isinstance(text, str) or not name or not text:
            raise NoCalibration(f"{path}, row {number}: no audio or no text.", ADVICE)
        named = fields.get("language") or language
        if not isinstance(named, str):
            raise NoCalibration(f"{path}, row {number}: the language is no text.", ADVICE)
        audio = path.parent / name
        if not audio.is_file():
            raise NoCalibration(f"{path}, row {number}: there is no {audio}.", ADVICE)
        words = tuple(TimedWord(*one) for one in _timed(fields.get("words")))
        yield Clip(audio, text, _language(named), _timed(fields.get("segments")), words)


def _timed(rows: Any) -> tuple[tuple[float, float, str], ...]:
    """Return a recording's sentences or words with their times; () where it has none, or none that
    can be read."""
    try:
        return tuple((float(start), float(end), str(text)) for start, end, text in rows or ())
    except (TypeError, ValueError):
        return ()


def _language(named: str) -> str:
    """Return the ISO code of a language as people write it: zh-TW, Chinese."""
    return code_of(named) or named


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
            else:
                yield from (json.loads(line) for line in file if line.strip())
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise NoCalibration(f"{path} cannot be read: {error}.", ADVICE) from error


def _folder(path: Path, language: str) -> Iterator[Clip]:
    """Recordings with their words in a .txt of the same name."""
    # Regular files alone: opening a pipe waits for a writer, and a device may never end.
    found = (p for p in path.rglob("*") if p.suffix.lower() in _AUDIO and p.is_file())
    for audio in sorted(found):
        words = audio.with_suffix(".txt")
        try:
            text = words.read_text("utf-8").strip() if words.is_file() else ""
        except (OSError, ValueError) as error:
            raise NoCalibration(f"{words} cannot be read: {error}.", ADVICE) from error
        if text:
            yield Clip(audio, text, _language(language))
