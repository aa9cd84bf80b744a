"""Recordings made on the spot, in any container FFmpeg knows, without its command line."""

import io
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from app.audio.waveform import SAMPLE_RATE, Samples, to_pcm


def tone(seconds: float, hertz: float = 440.0, level: float = 0.3) -> Samples:
    """A sine, shape (n,), at SAMPLE_RATE."""
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def encode(
    samples: Samples,
    container: str = "wav",
    codec: str = "pcm_s16le",
    rate: int = SAMPLE_RATE,
    layout: str = "mono",
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> bytes:
    """`samples` at SAMPLE_RATE as a file of that container, codec, rate and channel layout."""
    with tempfile.NamedTemporaryFile() as sink:  # some containers are written back to front
        _write(sink.name, samples, container, codec, rate, layout, container_options, codec_options)
        return Path(sink.name).read_bytes()


def encode_channels(channels: Samples) -> bytes:
    """Channels at SAMPLE_RATE, shape (n, samples), as a wav file."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setparams((len(channels), 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(np.ascontiguousarray(to_pcm(channels).T).tobytes())
    return sink.getvalue()


def _write(path, samples, container, codec, rate, layout, container_options, codec_options):
    with av.open(path, "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, options=codec_options or {})
        resampler = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frame.pts = 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))


def repeated_opus(hours: float, minute: Samples | None = None) -> bytes:
    """Hours of Opus at a few kilobit a second, by repeating the packets of one minute: a tone,
    where none is given."""
    samples = tone(60) if minute is None else minute
    once = encode(
        samples, "ogg", "libopus", 48_000, codec_options={"b": "6000", "frame_duration": "60"}
    )
    sink = io.BytesIO()
    with av.open(io.BytesIO(once)) as source, av.open(sink, "w", format="ogg") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        packets = [p for p in source.demux(source.streams.audio[0]) if p.size]
        contents = [(bytes(p), p.pts, p.duration) for p in packets]
        span = contents[-1][1] + contents[-1][2]
        for repeat in range(int(hours * 60)):
            for content, pts, duration in contents:
                packet = av.Packet(content)
                packet.pts = packet.dts = pts + repeat * span
                packet.duration, packet.stream = duration, stream
                packet.time_base = source.streams.audio[0].time_base
                output.mux(packet)
    return sink.getvalue()
