"""Any container, codec, rate and channel count to a Waveform, in bounded memory.

FFmpeg does the work through PyAV. Samples are counted as they come out of the decoder, so a
25 MB Opus of ten hours costs the limit's worth of memory and not ten hours' worth, and a header
that lies about its length decides nothing.
"""

import threading
from collections.abc import Iterator
from itertools import groupby
from typing import IO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from app.audio.headers import promised_seconds
from app.audio.waveform import SAMPLE_RATE, Samples, Waveform
from app.errors import (
    AudioTooLong,
    AudioTooShort,
    NotAudio,
    TruncatedAudio,
    UndecodableAudio,
)

MIN_SECONDS = 0.1  # OpenAI's minimum: less is not speech
# A header may promise a little more than there is: encoder padding, rounded durations.
_TRUNCATED_SECONDS = 1.0
# Full scale is 1. Float recordings may go beyond it, but not by 24 dB: that is damage, as NaN is,
# and one such sample would make all that the model computes of its window infinite.
_LOUDEST = 16.0
_BLOCK = 2**15  # samples, at the recording's own rate, that go through the resampler at once


class Cancelled(Exception):
    """The caller no longer wants the waveform."""


def decode(
    file: IO[bytes], *, max_seconds: float, cancelled: threading.Event | None = None
) -> Waveform:
    """Decode the first audio stream of `file` to 16 kHz mono. Blocking: call it in a thread.

    Raises NotAudio, UndecodableAudio, TruncatedAudio, AudioTooShort, AudioTooLong, or Cancelled.
    """
    if not file.read(1):
        raise AudioTooShort("The file is empty.", param="file")
    file.seek(0)
    container = _open(file)
    with container:
        stream = _audio_stream(container)
        promised = promised_seconds(container, stream, file)
        samples, broken = _read(container, stream, max_seconds, cancelled)
    seconds = len(samples) / SAMPLE_RATE
    if promised and seconds < promised - _TRUNCATED_SECONDS:
        raise TruncatedAudio(
            f"The recording is {promised:.1f} s long by its header but breaks off after "
            f"{seconds:.1f} s: the upload is incomplete or the file is damaged.",
            param="file",
        )
    if broken:
        raise UndecodableAudio(
            f"The audio cannot be decoded beyond {seconds:.0f} s: {broken}.", param="file"
        )
    if len(samples) and not (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST):
        raise UndecodableAudio(
            "The recording holds samples that are no sound: not numbers, or far beyond full scale.",
            param="file",
        )
    if seconds < MIN_SECONDS:
        raise AudioTooShort(
            f"The recording holds {seconds:.2f} s of audio; {MIN_SECONDS} s is the minimum.",
            param="file",
        )
    return Waveform(samples)


def _open(file: IO[bytes]) -> InputContainer:
    try:
        # No protocols: a playlist or a session description must not reach files or the network.
        container: InputContainer = av.open(
            file, mode="r", metadata_errors="ignore", options={"protocol_whitelist": "none"}
        )
    except av.error.InvalidDataError as error:
        file.seek(0)
        if _looks_like_media(file.read(12)):
            raise UndecodableAudio(
                "The container cannot be read: the file is incomplete or damaged.", param="file"
            ) from error
        raise NotAudio(
            "The file is not audio in a format that can be read "
            "(wav, mp3, flac, m4a, mp4, ogg, opus, webm and FFmpeg's others).",
            param="file",
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UndecodableAudio(
            f"The container cannot be read: {_reason(error)}.", param="file"
        ) from error
    return container


def _looks_like_media(head: bytes) -> bool:
    """Whether the first 12 bytes announce a container, for a file FFmpeg then cannot open."""
    return (
        head[4:8] == b"ftyp"
        or head[:4] in (b"RIFF", b"fLaC", b"OggS", b"\x1aE\xdf\xa3")
        or head[:3] == b"ID3"
    )


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise UndecodableAudio("The file holds no audio stream.", param="file")
    return container.streams.audio[0]


def _read(
    container: InputContainer,
    stream: AudioStream,
    max_seconds: float,
    cancelled: threading.Event | None,
) -> tuple[Samples, str | None]:
    """Every sample until the end or the first unreadable byte, and what was wrong there."""
    limit = int(max_seconds * SAMPLE_RATE) * np.dtype(np.float32).itemsize
    buffer = bytearray()  # grows in place: a list of arrays would need twice the room in the end
    try:
        for samples in _resampled(_frames(container, stream)):
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            buffer.extend(samples.data.cast("B"))
            if len(buffer) > limit:
                raise AudioTooLong(
                    f"The recording is longer than {max_seconds:g} s, the limit of this server.",
                    param="file",
                )
    except (av.error.FFmpegError, ValueError) as error:
        return np.frombuffer(buffer, np.float32), _reason(error)
    return np.frombuffer(buffer, np.float32), None


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[Samples]:
    """Frames as 16 kHz mono. Rate and layout may change on the way, as in chained Ogg."""
    for _, alike in groupby(frames, lambda f: (f.format.name, f.layout.name, f.sample_rate)):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        for block in _gathered(alike):
            yield from (f.to_ndarray() for f in resampler.resample(block))
        yield from (f.to_ndarray() for f in resampler.resample(None))


def _gathered(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """The same samples in larger frames: codecs hand out 20 ms at a time, and each passage through
    the resampler costs as much as its samples do."""
    fifo = av.AudioFifo()
    for frame in frames:
        frame.pts = None  # a chained stream's times begin anew; the samples are what counts
        fifo.write(frame)
        if fifo.samples >= _BLOCK:
            yield fifo.read()
    if fifo.samples:
        yield fifo.read()


def _reason(error: Exception) -> str:
    """FFmpeg's words without Python's error number and file name."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Frames of the stream. A packet that cannot be decoded is skipped, as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue
