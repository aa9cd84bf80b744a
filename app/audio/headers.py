"""How long a recording says it is, where its header's word is worth something.

Only used to tell a recording that was cut on its way from a whole one: what is decoded decides
everything else.
"""

import re
from collections.abc import Iterator
from typing import IO

from av.audio.stream import AudioStream
from av.container import InputContainer

from app.audio import matroska, ogg
from app.errors import UndecodableAudio

# FFmpeg's duration of these is the header's word; of the others it may be an estimate.
_EXACT_CONTAINERS = {"mov", "mp4", "m4a", "flac", "aiff", "au", "tta", "wv"}
_MPEG_1_RATE = 32_000  # from here on an mp3 frame holds 1152 samples, below it 576
_OPEN_WAV = 0xFFFF_0000  # writers to a pipe put about the largest number here
_MOST_CHUNKS = 1000  # recorders write a dozen, editors one for each list of markers


def promised_seconds(
    container: InputContainer, stream: AudioStream, file: IO[bytes]
) -> float | None:
    """Seconds, or None where the header says nothing, or only an estimate."""
    names = set(container.format.name.split(","))
    if "wav" in names:
        return _wav_seconds(file)
    if "mp3" in names:
        return _mp3_seconds(file, stream.rate)
    if "matroska" in names:
        return matroska.seconds_if_cut(file)
    if not names & _EXACT_CONTAINERS or stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def ends_within_a_page(container: InputContainer, file: IO[bytes]) -> bool:
    """Whether it is an Ogg file that was cut: it says nothing of its length, but its pages say
    theirs."""
    return container.format.name == "ogg" and ogg.ends_within_a_page(file)


def check_chunks(file: IO[bytes]) -> None:
    """Refuse a WAV of more chunks than any writer makes: each costs FFmpeg some microseconds, and
    an upload may hold a hundred million. Raises UndecodableAudio."""
    file.seek(0)
    head = file.read(12)
    if (head[:4], head[8:]) == (b"RIFF", b"WAVE"):
        for number, _ in enumerate(_chunks(file)):
            if number == _MOST_CHUNKS:
                raise UndecodableAudio(
                    f"The recording is a WAV of more than {_MOST_CHUNKS} chunks.", param="file"
                )
    file.seek(0)


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Names and sizes of a WAV's chunks, up to a nameless one: zeros that a recorder set aside.
    The file stands at what is in the latest."""
    start = 12
    file.seek(start)
    while len(head := file.read(8)) == 8 and any(head[:4]):
        name, size = head[:4], int.from_bytes(head[4:], "little")
        yield name, size
        start += 8 + size + size % 2
        file.seek(start)


def _wav_seconds(file: IO[bytes]) -> float | None:
    """The data chunk's length by its header; FFmpeg's own figure is cut to what is there.

    None where the header leaves it open, as one written to a pipe does.
    """
    position, rate, long = file.tell(), 0, 0
    try:
        for name, size in _chunks(file):
            if name == b"ds64":  # EBU Tech 3306: sizes that take 64 bits
                long = int.from_bytes(file.read(16)[8:], "little")
            if name == b"data":
                count = size if size < _OPEN_WAV else long
                return count / rate if rate and count else None
            if name == b"fmt ":
                rate = int.from_bytes(file.read(12)[8:], "little")  # bytes a second
        return None
    finally:
        file.seek(position)


def _mp3_seconds(file: IO[bytes], rate: int) -> float | None:
    """The length by the frame that says how many follow (Xing, Info or VBRI).

    None where there is no such frame; FFmpeg then guesses from the first frames' bitrate, and
    where several files were put end to end it guesses too.
    """
    position = file.tell()
    file.seek(0)
    head = file.read(10)
    size = 0
    if head[:3] == b"ID3":  # its size is written in four groups of seven bits
        size = 10 + sum(b << shift for b, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(size)
    data = file.read(4096)
    file.seek(position)
    sync = re.search(rb"\xff[\xe0-\xff]", data)
    if sync is None:
        return None
    # Behind the frame's header (4 bytes, 2 more with a checksum) and its side information.
    for at in (sync.start() + place for place in (13, 15, 21, 23, 36, 38)):
        mark, counted_at = data[at : at + 4], 14 if data[at : at + 4] == b"VBRI" else 8
        if mark not in (b"Xing", b"Info", b"VBRI") or len(data) < at + counted_at + 4:
            continue
        if mark != b"VBRI" and not data[at + 7] & 1:  # flag 1: a count is there
            continue
        frames = int.from_bytes(data[at + counted_at : at + counted_at + 4], "big")
        return frames * (1152 if rate >= _MPEG_1_RATE else 576) / rate
    return None
