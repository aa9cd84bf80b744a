"""Containers as FFmpeg opens them, and what is said of those that it cannot."""

from typing import IO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from app.audio import matroska
from app.errors import BadField, NotAudio, RequestError, UndecodableAudio


def open_container(file: IO[bytes]) -> InputContainer:
    """Open a file. Raises NotAudio, UndecodableAudio."""
    try:
        # No protocols: a playlist or a session description must not reach files or the network.
        container: InputContainer = av.open(
            file, mode="r", metadata_errors="ignore", options={"protocol_whitelist": "none"}
        )
    except MemoryError:
        raise
    except av.error.InvalidDataError as error:
        file.seek(0)
        raise _unreadable(file.read(12)) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UndecodableAudio(
            f"The container cannot be read: {reason_of(error)}.", param="file"
        ) from error
    return container


def _unreadable(head: bytes) -> RequestError:
    """What is wrong with a file that FFmpeg does not know, by its first 12 bytes."""
    if matroska.is_later_part(head):
        return NotAudio(
            "The file is a later part of a webm recording: send the whole recording, from its "
            "first byte.",
            param="file",
        )
    if _looks_like_media(head):
        return UndecodableAudio(
            "The container cannot be read: the file is incomplete or damaged.", param="file"
        )
    return NotAudio(
        "The file is not audio in a format that can be read "
        "(wav, mp3, flac, m4a, mp4, ogg, opus, webm and FFmpeg's others).",
        param="file",
    )


def _looks_like_media(head: bytes) -> bool:
    """Whether the first 12 bytes announce a container, for a file FFmpeg then cannot open."""
    return (
        head[4:8] == b"ftyp"
        or head[:4] in (b"RIFF", b"fLaC", b"OggS", b"\x1aE\xdf\xa3")
        or head[:3] == b"ID3"
    )


def audio_stream(container: InputContainer, track: int | None) -> AudioStream:
    """Return an audio track, from 0; None is the container's default. Raises UndecodableAudio,
    BadField."""
    stream, tracks = container.streams.best("audio"), container.streams.audio
    if not isinstance(stream, AudioStream):
        raise UndecodableAudio("The file holds no audio stream.", param="file")
    if track is None:
        return stream
    if track >= len(tracks):
        raise BadField(
            f"The recording has no audio track {track}: its {len(tracks)} are counted from 0.",
            param="audio_track",
        )
    return tracks[track]


def reason_of(error: Exception) -> str:
    """Return FFmpeg's words without Python's error number and file name."""
    return (getattr(error, "strerror", None) or str(error)).lower()
