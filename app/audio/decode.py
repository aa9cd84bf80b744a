"""Any container, codec, rate and channel count to a Waveform, in bounded memory.

FFmpeg does the work through PyAV. Samples are counted as they come out of the decoder, so a
25 MB Opus of ten hours costs the limit's worth of memory and not ten hours' worth, and a header
that lies about its length decides nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import IO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from app.audio.container import audio_stream, open_container, reason_of
from app.audio.downmix import mono
from app.audio.headers import check_chunks, ends_within_a_page, promised_seconds
from app.audio.recording import EVERYTHING, Selection
from app.audio.timeline import Timeline
from app.audio.waveform import SAMPLE_RATE, Samples, Waveform, to_pcm
from app.errors import (
    AudioTooLong,
    AudioTooShort,
    TruncatedAudio,
    UndecodableAudio,
)

MIN_SECONDS = 0.1  # OpenAI's minimum: less is not speech
# A header may promise a little more than there is: encoder padding, rounded durations.
_TRUNCATED_SECONDS = 1.0
_SKIPPED_SECONDS = 1.0  # of sound on end, that may be damaged
# Full scale is 1. Float recordings may go beyond it, but not by 24 dB: that is damage, as NaN is,
# and is told of instead of being cut off.
_LOUDEST = 16.0
# Samples, at the recording's own rate, that go through the resampler at once; and seconds, since a
# block of a low rate is a long one.
_BLOCK, _BLOCK_SECONDS = 2**15, 2
_LOWEST_RATE = 1000  # Hz: below it there is no speech


Write = Callable[[memoryview], object]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded: how many samples, and how many channels the recording has, at most."""

    samples: int
    channels: int


def decode(file: IO[bytes], *, max_seconds: float, selection: Selection = EVERYTHING) -> Waveform:
    """Decode an audio track of `file` to 16 kHz mono, in this process. Strangers' files are decoded
    in another: see DecoderPool.

    Raises NotAudio, UndecodableAudio, TruncatedAudio, AudioTooShort, AudioTooLong, or BadField
    where there is no such track.
    """
    buffer = bytearray()  # grows in place: a list of arrays would need twice the room in the end
    decode_to(buffer.extend, file, max_seconds=max_seconds, selection=selection)
    return Waveform(np.frombuffer(buffer, np.int16))


def decode_to(
    write: Write, file: IO[bytes], *, max_seconds: float, selection: Selection = EVERYTHING
) -> Decoded:
    """Hand the waveform's bytes to `write`, block by block, and count them. Raises as `decode`
    does; what was written is then nobody's."""
    try:
        return _decode_to(write, file, max_seconds, selection)
    except MemoryError as error:
        raise UndecodableAudio(
            "The recording takes more memory to decode than one may.", param="file"
        ) from error


def _decode_to(write: Write, file: IO[bytes], max_seconds: float, selection: Selection) -> Decoded:
    if not file.read(1):
        raise AudioTooShort("The file is empty.", param="file")
    check_chunks(file)
    with open_container(file) as container:
        stream = audio_stream(container, selection.track)
        promised = promised_seconds(container, stream, file)
        is_cut = ends_within_a_page(container, file)
        heard = _Heard(write, max_seconds)
        broken = _read(container, stream, heard, selection.channel)
    if is_cut:
        raise TruncatedAudio(
            f"The recording breaks off after {heard.seconds:.1f} s, within a page of its Ogg: the "
            "upload is incomplete or the file is damaged.",
            param="file",
        )
    _check(heard, promised, broken)
    return Decoded(heard.samples, heard.channels)


class _Heard:
    """What came out of a decoder so far: counted, looked at, and handed on."""

    def __init__(self, write: Write, max_seconds: float) -> None:
        self._write = write
        self._max_seconds = max_seconds
        self.samples = 0
        self.channels = 0
        self.is_sound = True

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    def add(self, block: Samples) -> None:
        """Raises AudioTooLong."""
        if not block.size:
            return
        self.samples += block.size
        if self.samples > int(self._max_seconds * SAMPLE_RATE):
            raise AudioTooLong(
                f"The recording is longer than {self._max_seconds:g} s, the limit of this server.",
                param="file",
            )
        if not (block.min() >= -_LOUDEST and block.max() <= _LOUDEST):
            self.is_sound = False
            block = np.zeros_like(block)  # nobody will hear it, and what is no number has no bits
        self._write(to_pcm(block).data.cast("B"))


def _check(heard: _Heard, promised: float | None, broken: str | None) -> None:
    """Whether what was heard to the end is a recording. `broken`: what was wrong where the end is
    none."""
    seconds = heard.seconds
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
    if not heard.is_sound:
        raise UndecodableAudio(
            "The recording holds samples that are no sound: not numbers, or far beyond full scale.",
            param="file",
        )
    if seconds < MIN_SECONDS:
        raise AudioTooShort(
            f"The recording holds {int(1000 * seconds)} ms of audio; {int(1000 * MIN_SECONDS)} ms "
            "is the minimum.",
            param="file",
        )


def _read(
    container: InputContainer, stream: AudioStream, heard: _Heard, channel: int | None
) -> str | None:
    """Hear every sample until the end or the first unreadable byte; what was wrong there."""

    def counted(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
        for frame in frames:
            heard.channels = max(heard.channels, frame.layout.nb_channels)
            yield frame

    try:
        timeline = Timeline(container, stream)
        frames = timeline.gaps(counted(_frames(container, stream)))
        for samples in _resampled(frames, channel):
            heard.add(samples)
    except MemoryError:  # FFmpeg's is one of its own errors too
        raise
    except (av.error.FFmpegError, ValueError) as error:
        return reason_of(error)
    return None


def _resampled(
    frames: Iterator[tuple[float, AudioFrame]], channel: int | None
) -> Iterator[Samples]:
    """Frames, each behind so many seconds of silence, as 16 kHz mono. Rate and layout may change on
    the way, as in chained Ogg."""
    for alike in _alike(frames):
        gap, first = next(alike)
        yield from _silence(gap)
        rate = first.sample_rate
        if rate < _LOWEST_RATE:
            raise UndecodableAudio(
                f"The recording's sample rate is {rate} Hz; {_LOWEST_RATE} Hz is the lowest that "
                "is decoded.",
                param="file",
            )
        several = chain((first,), (frame for _, frame in alike))
        yield from mono(_in_blocks(several, min(_BLOCK, _BLOCK_SECONDS * rate)), channel)


def _alike(
    frames: Iterator[tuple[float, AudioFrame]],
) -> Iterator[Iterator[tuple[float, AudioFrame]]]:
    """Frames of one format that follow each other without a gap."""
    gaps = 0

    def kind(one: tuple[float, AudioFrame]) -> tuple[str, str, int, int]:
        nonlocal gaps
        gap, frame = one
        gaps += gap > 0
        return frame.format.name, frame.layout.name, frame.sample_rate, gaps

    for _, alike in groupby(frames, kind):
        yield alike


def _silence(seconds: float) -> Iterator[Samples]:
    """In blocks, for a gap may be long."""
    left = round(seconds * SAMPLE_RATE)
    while left:
        block = min(left, _BLOCK)
        yield np.zeros((1, block), np.float32)
        left -= block


def _in_blocks(frames: Iterator[AudioFrame], size: int) -> Iterator[AudioFrame]:
    """The same samples in frames of `size`: codecs hand out 20 ms at a time, and each passage
    through the resampler costs as much as its samples do; others hand out minutes."""
    fifo = av.AudioFifo()
    for frame in frames:
        frame.pts = None  # a chained stream's times begin anew; the samples are what counts
        fifo.write(frame)
        while fifo.samples >= size:
            yield fifo.read(size)
    if fifo.samples:
        yield fifo.read()


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Frames of the stream. A packet that cannot be decoded is skipped, as players do; many on end
    are more than damage, as where a chained stream is coded in another way. Raises FFmpegError."""
    skipped = 0.0  # seconds
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            skipped += float((packet.duration or 0) * (packet.time_base or 0))
            if skipped > _SKIPPED_SECONDS:
                raise
            continue
        skipped = 0.0
        yield from frames
