"""Any container, rate and channel count becomes one 16 kHz mono waveform, or a clear error."""

import io
import math
import random
import re
import struct
import time
import tracemalloc

import av
import numpy as np
import pytest

from app.audio import matroska
from app.audio.decode import _in_blocks, decode
from app.audio.waveform import SAMPLE_RATE, Waveform
from app.environment import DEMO
from app.errors import (
    AudioTooLong,
    AudioTooShort,
    NotAudio,
    TruncatedAudio,
    UndecodableAudio,
)
from tests.sound import encode, repeated_opus, silence, tone

FORMATS = {
    "wav": ("wav", "pcm_s16le", 44_100, "stereo"),
    "wav float": ("wav", "pcm_f32le", 48_000, "mono"),
    "mu-law 8 kHz": ("wav", "pcm_mulaw", 8_000, "mono"),
    "six channels": ("wav", "pcm_s16le", 48_000, "5.1"),
    "192 kHz": ("wav", "pcm_s24le", 192_000, "stereo"),
    "mp3": ("mp3", "mp3", 44_100, "stereo"),
    "flac": ("flac", "flac", 44_100, "stereo"),
    "m4a": ("ipod", "aac", 44_100, "stereo"),
    "ogg opus": ("ogg", "libopus", 48_000, "mono"),
    "webm": ("webm", "libopus", 48_000, "stereo"),
}


def decoded(content: bytes, max_seconds: float = 60) -> Waveform:
    return decode(io.BytesIO(content), max_seconds=max_seconds)


def pitch(wave: Waveform) -> float:
    """The loudest frequency, in Hz."""
    middle = wave.samples[SAMPLE_RATE // 4 : -SAMPLE_RATE // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(middle))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_its_length_and_pitch(name):
    wave = decoded(encode(tone(2.0), *FORMATS[name]))
    assert wave.samples.dtype == np.float32
    assert wave.seconds == pytest.approx(2.0, abs=0.1)
    assert pitch(wave) == pytest.approx(440, abs=2)


def test_16_khz_pcm_comes_back_sample_for_sample():
    samples = tone(1.0)
    wave = decoded(encode(samples, codec="pcm_f32le"))
    np.testing.assert_allclose(wave.samples, samples, atol=0.5 / 2**15)
    again = decoded(encode(wave.samples, codec="pcm_s16le"))
    np.testing.assert_array_equal(again.pcm, wave.pcm)


def test_an_empty_file_is_too_short():
    with pytest.raises(AudioTooShort, match="empty"):
        decoded(b"")


def test_text_called_audio_is_not_audio():
    with pytest.raises(NotAudio):
        decoded(b"these are words and no sound at all, whatever the name says\n" * 20)


def test_audio_of_no_length_is_too_short():
    with pytest.raises(AudioTooShort):
        decoded(encode(silence(0.01)))


def test_a_tenth_of_a_second_is_a_recording_and_a_sample_less_is_none():
    least = tone(0.1)
    assert decoded(encode(least)).seconds == 0.1
    with pytest.raises(AudioTooShort, match="holds 99 ms of audio; 100 ms is the minimum"):
        decoded(encode(least[:-1]))


@pytest.mark.parametrize("head", [12, 44])
def test_a_header_alone_is_undecodable(head):
    with pytest.raises((UndecodableAudio, AudioTooShort)):
        decoded(encode(tone(1))[:head])


def test_a_truncated_mp3_says_where_it_breaks_off():
    whole = encode(tone(8), "mp3", "mp3", 44_100)
    with pytest.raises(TruncatedAudio, match=r"8\.\d s long .* breaks off after [34]\.\d s"):
        decoded(whole[: len(whole) // 2])


def test_a_truncated_m4a_with_its_index_in_front_says_where_it_breaks_off():
    whole = encode(tone(8), "ipod", "aac", 44_100, container_options={"movflags": "faststart"})
    with pytest.raises(TruncatedAudio, match="breaks off"):
        decoded(whole[: len(whole) // 2])


def test_a_truncated_m4a_with_its_index_behind_is_undecodable():
    whole = encode(tone(8), "ipod", "aac", 44_100)
    with pytest.raises(UndecodableAudio, match="incomplete or damaged"):
        decoded(whole[: len(whole) // 2])


def test_a_wav_written_to_a_pipe_has_no_length_and_is_whole():
    content = bytearray(encode(tone(3)))
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    assert decoded(bytes(content)).seconds == pytest.approx(3, abs=0.05)


def test_damage_in_the_middle_of_an_mp3_costs_only_what_is_damaged():
    content = bytearray(encode(tone(6), "mp3", "mp3", 44_100))
    middle = len(content) // 2
    content[middle : middle + 400] = b"\xaa" * 400
    assert decoded(bytes(content)).seconds == pytest.approx(6, abs=0.3)


def test_ten_hours_of_opus_cost_the_limits_worth_of_memory():
    content = repeated_opus(hours=10)
    assert 15e6 < len(content) < 40e6
    tracemalloc.start()
    try:
        with pytest.raises(AudioTooLong, match="longer than 300 s"):
            decoded(content, max_seconds=300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 300 * SAMPLE_RATE * 4 + 2e6


def test_the_limit_itself_is_not_too_long():
    assert decoded(encode(tone(2.0)), max_seconds=2.0).seconds == 2.0


def test_a_truncated_wav_says_where_it_breaks_off():
    whole = encode(tone(8))
    with pytest.raises(TruncatedAudio, match="breaks off"):
        decoded(whole[: len(whole) // 2])


def test_a_cut_of_more_than_a_second_is_never_silent():
    whole = encode(tone(60), "flac", "flac", 16_000)
    with pytest.raises(TruncatedAudio):
        decoded(whole[: int(len(whole) * 0.97)])


CHUNKS = {
    "aiff": ("aiff", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "tta": ("tta", "tta"),
    "wv": ("wv", "wavpack"),
    "rf64": ("wav", "pcm_s16le", 16_000, "mono", {"rf64": "always"}),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_what_has_its_length_in_a_header_says_where_it_breaks_off(name):
    whole = encode(tone(8), *CHUNKS[name])
    assert decoded(whole).seconds == pytest.approx(8)
    with pytest.raises(TruncatedAudio, match=r"8\.0 s long .* breaks off after [234]\.\d s"):
        decoded(whole[: len(whole) // 2])


OGG = {"opus": ("ogg", "libopus", 48_000), "flac": ("ogg", "flac", 16_000)}


@pytest.mark.parametrize("lost", [1, 300, 20_000])
@pytest.mark.parametrize("codec", OGG)
def test_an_ogg_that_ends_within_a_page_says_where_it_breaks_off(codec, lost):
    """Else a page's sound is gone, up to a second, and nobody knows how much behind it."""
    whole = encode(tone(8), *OGG[codec])
    with pytest.raises(TruncatedAudio, match=r"breaks off after \d\.\d s, within a page"):
        decoded(whole[:-lost])


@pytest.mark.parametrize("kept", [3, 20, 27, 40])
def test_an_ogg_that_ends_within_a_pages_header_says_so(kept):
    whole = encode(tone(8), *OGG["opus"])
    last = whole.rindex(b"OggS")
    if kept == 3:  # of its name, which no other is told from
        assert decoded(whole[: last + kept]).seconds == pytest.approx(8, abs=1.1)
        return
    with pytest.raises(TruncatedAudio, match="within a page"):
        decoded(whole[: last + kept])


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), bytes(3000)])
def test_what_stands_behind_an_oggs_last_page_is_no_page(behind):
    assert decoded(encode(tone(8), *OGG["opus"]) + behind).seconds == pytest.approx(8, abs=0.1)


RAW = {
    "mp3": ("mp3", "libmp3lame", 44_100, "mono", {"write_xing": "0"}),
    "aac": ("adts", "aac", 44_100),
    "wav": ("wav", "pcm_s16le"),
    "m4a": ("ipod", "aac", 44_100, "mono", {"movflags": "faststart"}),
    "mp3 with a count": ("mp3", "mp3", 44_100),
    "flac": ("flac", "flac", 16_000),
}


@pytest.mark.parametrize("name", RAW)
def test_of_a_packet_that_is_cut_no_sound_before_it_is_lost(name):
    whole = encode(tone(8), *RAW[name])
    wave = decoded(whole[:-101])
    assert wave.seconds == pytest.approx(8, abs=0.17)
    assert pitch(wave) == pytest.approx(440, abs=2)


def test_an_mp3_that_says_nothing_of_its_length_is_taken_as_it_is():
    """Variable bitrate, no Xing frame: FFmpeg guesses 20 s and more from the quiet beginning."""
    quiet, loud = silence(10), np.random.default_rng(0).normal(0, 0.3, 10 * SAMPLE_RATE)
    samples = np.concatenate([quiet, loud.astype(np.float32), quiet])
    content = encode(
        samples, "mp3", "mp3", 44_100,
        container_options={"write_xing": "0"}, codec_options={"q": "9"},
    )  # fmt: skip
    assert decoded(content).seconds == pytest.approx(30, abs=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30, 17.0])
def test_samples_that_are_no_sound_are_refused(value):
    samples = tone(1)
    samples[5000:5200] = value
    with pytest.raises(UndecodableAudio, match="no sound"):
        decoded(encode(samples, "wav", "pcm_f32le"))


def test_float_recordings_may_go_beyond_full_scale():
    assert decoded(encode(4 * tone(1, level=1.0), "wav", "pcm_f32le")).seconds == 1.0


def test_chained_ogg_streams_are_heard_to_the_end():
    assert decoded(encode(tone(3), "ogg", "libopus", 48_000) * 2).seconds == pytest.approx(
        6, abs=0.2
    )


@pytest.mark.parametrize("rates", [(44_100, 48_000), (48_000, 16_000)])
@pytest.mark.parametrize("layouts", [("mono", "mono"), ("mono", "stereo"), ("stereo", "mono")])
def test_chained_ogg_streams_of_another_rate_and_other_channels_are_heard_whole(rates, layouts):
    both = zip(rates, layouts, strict=True)
    wave = decoded(b"".join(encode(tone(8), "ogg", "flac", *one) for one in both))
    assert wave.seconds == pytest.approx(16, abs=0.01)
    tenths = wave.samples[: 159 * 1600].reshape(159, 1600)
    assert np.sqrt(np.mean(tenths**2, axis=1)).min() > 0.1  # no silence where they meet, or behind
    assert pitch(Waveform.of(wave.samples[8 * SAMPLE_RATE :])) == pytest.approx(440, abs=2)


def test_a_chain_whose_packets_ffmpeg_cannot_decode_is_refused_and_not_cut_short():
    """FLAC's blocks are longer at a higher rate; only the last one, a short one, is decoded."""
    low, high = (encode(tone(3), "ogg", "flac", rate) for rate in (16_000, 48_000))
    with pytest.raises(UndecodableAudio, match=r"beyond [23] s"):
        decoded(low + high)


def test_a_chain_that_ffmpeg_cannot_follow_is_refused_and_not_cut_short():
    mono = encode(tone(3), "ogg", "libopus", 48_000)
    stereo = encode(tone(3), "ogg", "libopus", 48_000, "stereo")
    with pytest.raises(UndecodableAudio, match="beyond 3 s"):
        decoded(mono + stereo)


def test_an_mp3_whose_channels_change_is_heard_to_the_end():
    mono, stereo = (encode(tone(3), "mp3", "mp3", 44_100, layout) for layout in ("mono", "stereo"))
    assert decoded(mono + stereo).seconds == pytest.approx(6, abs=0.3)


SESSION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 5016 RTP/AVP 0\r\n"
)
PLAYLIST = f"ffconcat version 1.0\nfile {DEMO / 'recordings' / 'radio.mp3'}\n"


@pytest.mark.parametrize("content", [SESSION, PLAYLIST])
def test_an_upload_opens_neither_sockets_nor_files(content):
    started = time.monotonic()
    with pytest.raises((NotAudio, UndecodableAudio)):
        decode(io.BytesIO(content.encode()), max_seconds=60)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("place", [3000, 4089])
def test_a_mark_that_is_no_first_frames_promises_nothing(place):
    """The letters of a frame count, but in the middle of the sound."""
    whole = encode(tone(2), "mp3", "libmp3lame", container_options={"write_xing": "0"})
    start = re.search(rb"\xff[\xe0-\xff]", whole).start()
    stray = bytearray(whole)
    stray[start + place : start + place + 12] = b"Info\0\0\0\1\0\0\xff\xff"
    assert decode(io.BytesIO(bytes(stray)), max_seconds=60).seconds > 1.5


def test_a_long_frame_is_resampled_in_short_blocks():
    """At a low rate a codec's frame may be minutes, and resampled many times its size."""
    frame = av.AudioFrame.from_ndarray(silence(4).reshape(1, -1), "flt", "mono")
    frame.sample_rate = 1000
    assert [block.samples for block in _in_blocks([frame] * 2, 24_000)] == [24_000] * 5 + [8_000]


def test_the_lowest_rate_of_sound_is_decoded():
    wave = decoded(encode(tone(4, 100.0), rate=1000))
    assert wave.seconds == pytest.approx(4, abs=0.05)
    assert pitch(wave) == pytest.approx(100, abs=1)


LATER_PARTS = {
    "cluster of unknown size": b"\x1fC\xb6u\x01" + b"\xff" * 7 + b"\xe7\x82\x13\x88",
    "cluster": b"\x1fC\xb6u\x10\x00\x40\x00\xe7\x82\x13\x88",
    "block of one byte of size": b"\xa3\xf9\x81\x00\x3c\x80" + b"\x7b" * 20,
    "block of two": b"\xa3\x43\xc0\x81\x00\x3c\x80" + b"\x7b" * 20,
}


@pytest.mark.parametrize("name", LATER_PARTS)
def test_a_later_part_of_a_webm_is_told_from_other_things(name):
    """A browser's recorder hands out a recording in parts; the first alone has its header."""
    with pytest.raises(NotAudio, match="send the whole recording, from its first byte"):
        decoded(LATER_PARTS[name] + b"\x7b" * 2000)


def test_a_recording_without_its_first_part_is_a_later_part():
    whole = encode(tone(12), "webm", "libopus", 48_000, container_options={"live": "1"})
    clusters = [match.start() for match in re.finditer(rb"\x1fC\xb6u", whole)]
    with pytest.raises(NotAudio, match="from its first byte"):
        decoded(whole[clusters[1] :])


@pytest.mark.parametrize("codec", ["libopus", "flac"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.85])
def test_a_truncated_webm_says_where_it_breaks_off(codec, share):
    container = "webm" if codec == "libopus" else "matroska"
    whole = encode(tone(12), container, codec, 48_000)
    with pytest.raises(TruncatedAudio, match=r"12\.0 s long by its header but breaks off"):
        decoded(whole[: int(share * len(whole))])


def test_a_webm_that_lacks_less_than_a_second_is_whole():
    whole = encode(tone(12), "webm", "libopus", 48_000)
    assert decoded(whole[: int(0.97 * len(whole))]).seconds > 11


@pytest.mark.parametrize("share", [0.5, 1])
def test_a_live_webm_promises_nothing(share):
    """A browser's recorder leaves sizes and length open: what there is of it is all it says."""
    whole = encode(tone(12), "webm", "libopus", 48_000, container_options={"live": "1"})
    content = whole[: int(share * len(whole))]
    assert matroska.seconds_if_cut(io.BytesIO(content)) is None
    assert decoded(content).seconds == pytest.approx(12 * share, abs=0.5)


def test_a_webm_whose_length_was_put_in_afterwards_is_whole():
    """By the clock, and pauses with it: the size of the whole is still open."""
    whole = bytearray(encode(tone(6), "webm", "libopus", 48_000))
    segment = whole.index(b"\x18\x53\x80\x67") + 4
    assert whole[segment] == 1  # eight bytes of size
    whole[segment + 1 : segment + 8] = b"\xff" * 7
    duration = whole.index(b"\x44\x89\x88") + 3
    whole[duration : duration + 8] = struct.pack(">d", 9000.0)  # ms
    assert decoded(bytes(whole)).seconds == pytest.approx(6, abs=0.1)


def test_a_webm_whose_picture_outlasts_its_sound_is_whole():
    whole = bytearray(encode(tone(6), "webm", "libopus", 48_000))
    duration = whole.index(b"\x44\x89\x88") + 3
    whole[duration : duration + 8] = struct.pack(">d", 9000.0)
    assert decoded(bytes(whole)).seconds == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_stands_in_a_webms_header_is_no_defect(seed):
    choose = random.Random(seed)
    whole = bytearray(encode(tone(1), "webm", "libopus", 48_000))
    for _ in range(50):
        whole[choose.randrange(300)] = choose.randrange(256)
        told = matroska.seconds_if_cut(io.BytesIO(bytes(whole[: choose.randrange(400)])))
        assert told is None or math.isfinite(told)
