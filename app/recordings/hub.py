"""Reading of a hub's sets, as streams: only what is taken is downloaded."""

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av

from app.audio.decode import decode
from app.errors import AudioTooLong, NoCalibration, RequestError
from app.languages import code_of
from app.recordings.clip import WINDOW_SECONDS, Clip
from app.recordings.known_sets import HubSet

log = logging.getLogger(__name__)

_HUB = "hf://datasets/"
_WORDS = ("text", "sentence", "transcript", "raw_transcription", "transcription",
          "normalized_text")  # fmt: skip
# The hub's own conversion of sets whose data only a script of theirs could read.
_CONVERTED = "refs/convert/parquet"
_ADVICE = (
    "Check the network, HF_ENDPOINT and HF_TOKEN, and the set's name, or name a folder or a "
    "manifest that lies here."
)


def clips(
    wanted: HubSet, language: str, *, longest: float | None = WINDOW_SECONDS
) -> Iterator[Clip]:
    """Yield a set's clips; `language` is of rows that name none. Those of over `longest` seconds
    are left out, and how many is logged. Raises NoCalibration."""
    left_out = 0
    try:
        for number, row in enumerate(_rows(wanted), 1):
            content = _carried(wanted.source, number, row["audio"])
            if longest and is_longer(content, longest):
                left_out += 1
                continue
            named = wanted.language or row.get("language") or language
            if words := _words(wanted, row):
                yield Clip(content, words, code_of(named) or named)
    finally:
        if left_out:
            log.warning(
                "%s: %d recordings of over %g s are left out", wanted.source, left_out, longest
            )


def _rows(wanted: HubSet) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, recordings undecoded. Raises NoCalibration."""
    try:
        from datasets import Audio
    except ImportError as error:
        raise NoCalibration(
            f"{wanted.source} is a hub's set, which only the quantizer's packages read.",
            "Name a folder or a manifest here, or run requirements/install.sh.",
        ) from error
    try:
        stream = _stream(wanted)
        yield from stream.cast_column("audio", Audio(decode=False))
    except NoCalibration:
        raise
    except Exception as error:  # the library's errors share no root
        reason = str(error).rstrip(".")
        raise NoCalibration(
            f"{wanted.source} cannot be read from the hub ({wanted.repository}): {reason}.", _ADVICE
        ) from error


def _stream(wanted: HubSet) -> Any:
    from datasets import load_dataset_builder

    # With its scheme, for without one a folder here of the same name would go before the hub.
    name = f"{_HUB}{wanted.repository}"
    try:
        builder = load_dataset_builder(name, wanted.config or None)
        split = wanted.split
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        # The conversion's folders: config/split, or config/partial-split of a large one.
        files = {"converted": f"{wanted.config or 'default'}/*{wanted.split}/*.parquet"}
        builder = load_dataset_builder(name, data_files=files, revision=_CONVERTED)
        split = "converted"
    _check_remote(wanted, builder.config.data_files or {})
    return builder.as_streaming_dataset(split=split)


def _check_remote(wanted: HubSet, files: Mapping[str, Sequence[str]]) -> None:
    """A set's card may name any path or address as its data: only the set's own are read. Raises
    NoCalibration."""
    own = f"{_HUB}{wanted.repository}@"
    foreign = [file for several in files.values() for file in several if not file.startswith(own)]
    if foreign:
        raise NoCalibration(f"{wanted.source} points outside of itself, to {foreign[0]}.", _ADVICE)


def _carried(source: str, number: int, audio: Any) -> bytes:
    """A row's recording. Raises NoCalibration where the row has a path in its place, which would
    be one of this machine's."""
    content = audio.get("bytes") if isinstance(audio, Mapping) else None
    if not isinstance(content, bytes) or not content:
        raise NoCalibration(
            f"{source}, row {number}: it names a file and carries no bytes of its own.", _ADVICE
        )
    return content


def _words(wanted: HubSet, row: Mapping[str, Any]) -> str:
    """Return what was said in a row. Raises NoCalibration."""
    for name in (wanted.words,) if wanted.words else _WORDS:
        if isinstance(words := row.get(name), str):
            return words.strip().lower() if wanted.shouted else words.strip()
    raise NoCalibration(
        f"{wanted.source} has no column {wanted.words or ', '.join(_WORDS)}: its columns are "
        f"{', '.join(row)}.",
        _ADVICE,
    )


def is_longer(content: bytes, most: float) -> bool:
    """Whether a recording takes more seconds than `most`, by its header where that says; one that
    cannot be read is not, and says so when it is decoded."""
    try:
        with av.open(io.BytesIO(content)) as container:
            if container.duration is not None:
                return bool(container.duration > most * av.time_base)
        decode(io.BytesIO(content), max_seconds=most)
    except AudioTooLong:
        return True
    except (RequestError, av.FFmpegError):
        return False
    return False
