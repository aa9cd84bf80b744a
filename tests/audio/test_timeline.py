"""Sound is where the container's clock has it, in the track that it plays, in a channel that is
heard."""

import io

import av
import numpy as np
import pytest

from app.audio.decode import decode
from app.audio.recording import Selection
from app.audio.waveform import SAMPLE_RATE
from app.errors import BadField
from tests.sound import encode, tone

RATE = 48_000


def film(*spans, container="matroska", codec="libopus", picture=True, defaults=(True,)):
    """A container whose sound lies at these spans of seconds; a tone of another height in each
    track."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as output:
        if picture:
            video = output.add_stream("mpeg4", rate=5)
            video.width = video.height = 64
        tracks = [output.add_stream(codec, rate=RATE, layout="mono") for _ in defaults]
        for track, default in zip(tracks, defaults, strict=True):
            track.disposition = av.stream.Disposition.default if default else 0
        if picture:
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            for number in range(5):
                image.pts = number
                output.mux(video.encode(image))
            output.mux(video.encode(None))
        for number, track in enumerate(tracks):
            for begin, end in spans:
                sound(output, track, begin, end, 440 * (number + 1))
            output.mux(track.encode(None))
    return io.BytesIO(sink.getvalue())


def sound(output, track, begin, end, hertz):
    size = 960
    times = np.arange(int(begin * RATE), int(end * RATE)) / RATE
    samples = (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
    for at in range(0, len(samples) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], "fltp", "mono")
        frame.sample_rate, frame.pts = RATE, int(begin * RATE) + at
        output.mux(track.encode(frame))


def loud(file):
    """Where it sounds: pairs of seconds."""
    samples = decode(file, max_seconds=100).samples
    frames = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
    is_loud = np.sqrt(np.mean(frames**2, axis=1)) > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_loud, [0]))))
    return [(a / 10, b / 10) for a, b in edges.reshape(-1, 2)]


def near(spans):
    return [pytest.approx(span, abs=0.15) for span in spans]


def test_sound_that_begins_after_the_picture_begins_there():
    assert loud(film((5.94, 8))) == near([(5.94, 8)])


def test_a_pause_in_the_sound_is_one():
    assert loud(film((0, 2), (12, 13))) == near([(0, 2), (12, 13)])


def test_a_file_of_sound_alone_begins_at_once():
    assert loud(film((5, 7), picture=False)) == near([(0, 2)])


def test_a_time_beyond_the_containers_end_is_damage(monkeypatch):
    whole = film((0, 2), (12, 13))
    monkeypatch.setattr("app.audio.timeline._LONGEST_GAP", 5)
    assert loud(whole) == near([(0, 3)])


def test_silence_counts_as_what_a_recording_takes():
    from app.errors import AudioTooLong

    with pytest.raises(AudioTooLong):
        decode(film((0, 2), (50, 51)), max_seconds=20)


@pytest.mark.parametrize("defaults", [(True, False), (False, True)])
def test_the_default_track_is_heard(defaults):
    samples = decode(film((0, 2), defaults=defaults), max_seconds=100).samples
    hertz = int(np.argmax(np.abs(np.fft.rfft(samples[:SAMPLE_RATE]))))
    assert hertz == pytest.approx(440 if defaults[0] else 880, abs=2)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_u8"), ("wav", "pcm_f32le"), ("flac", "flac"),
     ("ogg", "libopus")],
)  # fmt: skip
def test_channels_that_cancel_each_other_out_are_heard(container, codec):
    rate = RATE if codec == "libopus" else SAMPLE_RATE
    left = tone(2)
    file = stereo(np.stack([left, -left]), container, codec, rate)
    assert loud(file) == near([(0, 2)])


def test_channels_that_differ_are_both_heard():
    file = stereo(np.stack([tone(2, 440), tone(2, 880)]), "wav", "pcm_s16le", SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(decode(file, max_seconds=9).samples[:SAMPLE_RATE]))
    assert sorted(np.argsort(spectrum)[-2:]) == [440, 880]


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("wav", "pcm_u8"), ("flac", "flac"), ("ogg", "libopus")],
)
def test_a_channel_is_heard_by_itself(container, codec):
    rate = RATE if codec == "libopus" else SAMPLE_RATE
    file = stereo(np.stack([tone(2, 440), tone(2, 880)]), container, codec, rate)
    assert [height(file, Selection(channel=number)) for number in (0, 1)] == [440, 880]


def test_a_channel_that_is_not_there_is_silent():
    samples = decode(io.BytesIO(encode(tone(1))), max_seconds=9, selection=Selection(channel=1))
    assert len(samples.pcm) == SAMPLE_RATE
    assert not samples.pcm.any()


def test_a_track_is_chosen():
    file = film((0, 2), defaults=(True, False))
    assert [height(file, Selection(track)) for track in (None, 0, 1)] == [440, 440, 880]


def test_a_track_that_is_not_there_is_a_bad_field():
    with pytest.raises(BadField, match="no audio track 1: its 1 are counted from 0") as caught:
        decode(film((0, 2)), max_seconds=9, selection=Selection(track=1))
    assert caught.value.param == "audio_track"


def height(file, selection):
    """The loudest frequency, in hertz."""
    file.seek(0)
    samples = decode(file, max_seconds=9, selection=selection).samples[:SAMPLE_RATE]
    return int(np.argmax(np.abs(np.fft.rfft(samples))))


def test_where_channels_are_alike_nothing_changes():
    wave = decode(io.BytesIO(encode(tone(1), layout="stereo")), max_seconds=9)
    assert np.sqrt(np.mean(wave.samples**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.02)


def stereo(samples, container, codec, rate):
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        resampler = av.AudioResampler(stream.format.name, "stereo", rate, stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "stereo")
        frame.sample_rate = SAMPLE_RATE
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return io.BytesIO(sink.getvalue())
