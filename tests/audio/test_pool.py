"""Decoding in child processes: the same waveforms and errors, whatever a recording does to them."""

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from app.audio import child
from app.audio.decode import decode
from app.audio.incoming import NoMoreComes
from app.audio.pool import DecoderPool
from app.audio.waveform import SAMPLE_RATE
from app.errors import AudioTooLong, BadField, NotAudio, RequestError, Unavailable, UndecodableAudio
from tests.sound import encode, silence, tone
from tests.waiting import until

pytestmark = pytest.mark.anyio

WAV = encode(tone(1))
MIB = 2**20


def chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + len(content) % 2 * b"\0"


def wav_of(rate: int, data: bytes, *, between: bytes = b"", behind: bytes = b"") -> bytes:
    """Eight bits a sample, one channel."""
    numbers = (rate.to_bytes(4, "little"), rate.to_bytes(4, "little"))
    form = chunk(b"fmt ", b"\1\0\1\0" + b"".join(numbers) + b"\1\0\x08\0")
    return chunk(b"RIFF", b"WAVE" + form + between + chunk(b"data", data) + behind)


@pytest.fixture
async def pool():
    pool = DecoderPool(2)
    yield pool
    pool.close()


@pytest.fixture
def hostile(monkeypatch):
    """Children that do what a recording says."""
    monkeypatch.setattr(child, "_MODULE", "tests.audio.hostile")


async def decoded(pool, content, max_seconds=60.0):
    return await pool.decode(io.BytesIO(content), max_seconds=max_seconds)


async def test_channels_are_decoded_each_by_itself(pool):
    waves = await pool.decode_channels(io.BytesIO(encode(tone(1), layout="stereo")), max_seconds=9)
    assert [wave.seconds for wave in waves] == [1, 1]


class Follower:
    """Reads a recording to its end, in a thread."""

    def follow(self, incoming):
        self.reading = asyncio.ensure_future(asyncio.to_thread(self._read, incoming))

    def _read(self, incoming):
        while incoming.more():
            pass
        return incoming.pcm[: incoming.count]


async def test_who_follows_a_recording_reads_all_of_it(pool):
    follower, file = Follower(), io.BytesIO(encode(tone(60)))
    wave = await pool.decode(file, max_seconds=90, follow=follower.follow)
    np.testing.assert_array_equal(await follower.reading, wave.pcm)


async def test_who_follows_a_recording_gets_to_know_that_it_is_broken(pool):
    follower = Follower()
    with pytest.raises(NotAudio):
        await pool.decode(io.BytesIO(b"no sound"), max_seconds=90, follow=follower.follow)
    with pytest.raises(NoMoreComes):
        await follower.reading


async def test_more_channels_than_are_split_are_refused(pool, monkeypatch):
    monkeypatch.setattr("app.audio.pool.MOST_CHANNELS", 1)
    with pytest.raises(BadField, match="has 2 channels; at most 1 are split") as caught:
        await pool.decode_channels(io.BytesIO(encode(tone(1), layout="stereo")), max_seconds=9)
    assert caught.value.param == "channels"


async def test_channels_that_are_too_long_together_are_refused(pool):
    """Two hours of eight channels would take eight times the memory of the longest recording."""
    both = io.BytesIO(encode(tone(1), layout="stereo"))
    with pytest.raises(AudioTooLong, match="2 channels are longer together"):
        await pool.decode_channels(both, max_seconds=1.5)
    assert len(await pool.decode_channels(both, max_seconds=2)) == 2


def the_only(pool):
    """The process of a pool that has decoded one recording so far."""
    (one,) = pool._idle
    return one.pid


def is_alive(pid):
    """Whether it runs: one that has ended may wait for whoever asks how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def peak_memory(pid):
    """Bytes of RSS."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_waveform_is_the_one_this_process_would_decode(pool):
    for content in (WAV, encode(tone(3), "ogg", "libopus", 48_000), encode(tone(40), "mp3", "mp3")):
        wave = await decoded(pool, content)
        assert wave.samples.dtype == np.float32
        np.testing.assert_array_equal(
            wave.samples, decode(io.BytesIO(content), max_seconds=60).samples
        )
        wave.samples[0] = 1.0  # the array is the caller's


ERRORS = {
    "empty": b"",
    "no stream": encode(tone(1), "ogg", "libopus", 48_000)[:100],
    "text": b"words, words " * 50,
    "too long": encode(tone(11)),
    "too short": encode(silence(0.01)),
    "header alone": WAV[:40],
    "cut": encode(tone(8))[: 8 * SAMPLE_RATE],
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_keeps_its_class_message_and_field(pool, name):
    with pytest.raises(RequestError) as here:
        decode(io.BytesIO(ERRORS[name]), max_seconds=10)
    with pytest.raises(type(here.value)) as there:
        await decoded(pool, ERRORS[name], 10)
    assert type(there.value) is type(here.value)
    assert (there.value.message, there.value.param) == (here.value.message, "file")


async def test_a_small_upload_stays_in_memory(pool):
    with tempfile.SpooledTemporaryFile(max_size=MIB) as file:
        file.write(WAV)
        assert (await pool.decode(file, max_seconds=60)).seconds == 1
        assert not file._rolled


async def test_a_large_upload_is_read_from_its_file_whose_place_stays(pool):
    content = encode(tone(50))
    with tempfile.SpooledTemporaryFile(max_size=MIB) as file:
        file.write(content)
        assert (await pool.decode(file, max_seconds=60)).seconds == 50
        assert file._rolled
        assert file.read() == content


async def test_a_large_recording_in_memory_alone_is_read_too(pool):
    assert (await decoded(pool, encode(tone(50)))).seconds == 50


@pytest.mark.parametrize("rate", [1, 2, 999])
async def test_a_rate_below_all_sound_takes_no_memory(pool, rate):
    """At 2 Hz these 32 KiB are 16,384 s: 7 GB of resampled blocks before the limit counted one."""
    await decoded(pool, WAV)
    before = peak_memory(the_only(pool))
    with pytest.raises(UndecodableAudio, match=rf"rate is {rate} Hz; 1000 Hz is the lowest"):
        await decoded(pool, wav_of(rate, 32_768 * b"\x80"), 7200)
    assert peak_memory(the_only(pool)) - before < 8 * MIB


@pytest.mark.parametrize("place", ["between", "behind"])
async def test_millions_of_empty_chunks_are_not_walked(pool, place):
    """16 MiB of them took FFmpeg 7 s of a processor, and the walk for the length 3."""
    await decoded(pool, WAV)
    before = processor_seconds(the_only(pool))
    content = wav_of(8000, 8000 * b"\x80", **{place: chunk(b"JUNK", b"") * (2 * MIB)})
    with pytest.raises(UndecodableAudio, match="more than 1000 chunks"):
        await decoded(pool, content)
    assert processor_seconds(the_only(pool)) - before < 1


async def test_a_wav_of_some_hundred_chunks_is_read(pool):
    content = wav_of(8000, 8000 * b"\x80", between=chunk(b"JUNK", b"odd") * 400)
    assert (await decoded(pool, content)).seconds == 1


async def test_zeros_that_a_recorder_set_aside_are_no_chunks(pool):
    content = wav_of(8000, 8000 * b"\x80", behind=bytes(100_000))
    assert (await decoded(pool, content)).seconds == 1


ENDS = {
    b"spin ": "takes more time to decode",
    b"grow ": "takes more memory to decode",
    b"crash": "damaged in a way that ends the decoder",
    b"raise": "damaged in a way that ends the decoder",
    b"open ": "damaged in a way that ends the decoder",
    b"flood": "damaged in a way that ends the decoder",
}


@pytest.mark.parametrize("what", ENDS)
async def test_whatever_a_codec_does_the_recording_is_undecodable_and_the_next_is_decoded(
    hostile, pool, what
):
    await decoded(pool, WAV)
    with pytest.raises(UndecodableAudio, match=ENDS[what]) as caught:
        await decoded(pool, what)
    assert caught.value.param == "file"
    assert (await decoded(pool, WAV)).seconds == 1


async def test_memory_is_bounded_by_the_kernel(hostile, pool):
    await decoded(pool, WAV)
    before = peak_memory(the_only(pool))
    with pytest.raises(UndecodableAudio, match="memory"):
        await decoded(pool, b"grow ")
    assert peak_memory(the_only(pool)) - before < 129 * MIB


async def test_a_child_may_take_half_a_gibibyte_beyond_what_is_loaded(pool):
    await decoded(pool, WAV)
    pid = the_only(pool)
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[0])
    loaded = pages * os.sysconf("SC_PAGE_SIZE")
    limits = Path(f"/proc/{pid}/limits").read_text("ascii")
    most = int(limits.split("Max address space")[1].split()[1])
    assert most - loaded == pytest.approx(512 * MIB, abs=8 * MIB)


async def test_a_child_that_somebody_kills_is_not_its_recordings_fault(hostile, pool):
    await decoded(pool, WAV)
    pid = the_only(pool)
    task = asyncio.create_task(decoded(pool, b"sleep"))
    await until(lambda: pool._busy)
    await asyncio.sleep(0.1)  # it has read what it was asked
    os.kill(pid, signal.SIGKILL)  # as the kernel does where memory is short
    with pytest.raises(Unavailable, match="Send it again") as caught:
        await task
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    assert (await decoded(pool, WAV)).seconds == 1
    assert not is_alive(pid)


async def test_a_child_that_hangs_up_and_stays_is_killed_as_its_recordings_fault(
    hostile, pool, monkeypatch
):
    monkeypatch.setattr(child, "_LAST_SECONDS", 0.01)
    await decoded(pool, WAV)
    with pytest.raises(UndecodableAudio):
        await decoded(pool, b"leave")


async def test_a_child_killed_while_idle_fails_nothing(pool):
    await decoded(pool, WAV)
    pid = the_only(pool)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_alive(pid))
    assert (await decoded(pool, WAV)).seconds == 1


async def test_a_cancellation_kills_at_once_and_replaces(hostile, pool):
    await decoded(pool, WAV)
    pid = the_only(pool)
    task = asyncio.create_task(decoded(pool, b"sleep"))
    await until(lambda: pool._busy)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_alive(pid))
    assert len(pool._idle) == 2
    assert pid not in {one.pid for one in pool._idle}
    assert (await decoded(pool, WAV)).seconds == 1


async def test_no_more_than_its_size_are_decoded_at_once(pool):
    most = 0

    async def one():
        nonlocal most
        task = asyncio.create_task(decoded(pool, WAV))
        await asyncio.sleep(0)
        most = max(most, len(pool._busy))
        await task

    await asyncio.gather(*(one() for _ in range(8)))
    assert most == 2
    assert len(pool._idle) == 2


async def test_a_waveforms_memory_goes_with_it(pool):
    gc.collect()  # what earlier tests left
    before = Path("/proc/self/maps").read_text("utf-8").count("memfd:samples")

    def held():
        return Path("/proc/self/maps").read_text("utf-8").count("memfd:samples") > before

    wave = await decoded(pool, encode(tone(5)))
    part = wave.pcm[100:200]
    assert held()
    del wave
    assert part.base is not None
    assert held()
    del part
    assert not held()


async def test_two_hundred_recordings_leave_no_descriptor_open(pool):
    def descriptors(pid="self"):
        return sorted(os.listdir(f"/proc/{pid}/fd"))

    pool.start()
    for content in (WAV, WAV):
        await decoded(pool, content)
    before = descriptors()
    large = encode(tone(50))
    for number in range(200):
        if number % 4 == 0:
            with tempfile.TemporaryFile() as file:
                file.write(large)
                await pool.decode(file, max_seconds=60)
        elif number % 4 == 1:
            with pytest.raises(RequestError):
                await decoded(pool, b"no sound at all, but words")
        else:
            await decoded(pool, WAV)
    assert descriptors() == before
    assert all(descriptors(one.pid) == ["0", "1", "2"] for one in pool._idle)


async def test_a_child_has_a_session_of_its_own_and_none_of_the_servers_secrets(pool, monkeypatch):
    monkeypatch.setenv("MARLINSCRIBE_API_KEYS", "secret")
    await decoded(pool, WAV)
    pid = the_only(pool)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert "secret" not in Path(f"/proc/{pid}/environ").read_text("utf-8")
    limits = Path(f"/proc/{pid}/limits").read_text("ascii")
    assert "Max core file size        0 " in limits
    assert "Max open files            5                    5 " in limits


async def test_a_child_outlives_the_servers_end_signals(pool):
    """A supervisor may send them to all of a service's processes, and what runs is finished."""
    await decoded(pool, WAV)
    pid = the_only(pool)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    await decoded(pool, WAV)
    assert the_only(pool) == pid


def test_a_child_dies_with_its_server():
    """Also one that cannot see that its socket is closed."""
    script = (
        "import asyncio, io, sys\n"
        "from app.audio.pool import DecoderPool\n"
        "from tests.audio.test_pool import WAV, the_only\n"
        "async def main():\n"
        "    pool = DecoderPool(1)\n"
        "    await pool.decode(io.BytesIO(WAV), max_seconds=9)\n"
        "    print(the_only(pool), flush=True)\n"
        "    await asyncio.sleep(100)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        pid = int(server.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        assert is_alive(pid)
        server.kill()
    ends = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < ends:
        time.sleep(0.01)
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)  # nobody else would
        pytest.fail("the child lives on")


async def test_a_closed_pool_leaves_no_process():
    pool = DecoderPool(2)
    pool.start()
    pids = {one.pid for one in pool._idle}
    assert len(pids) == 2
    await decoded(pool, WAV)
    pool.close()
    assert not any(is_alive(pid) for pid in pids)
    with pytest.raises(Unavailable):
        await decoded(pool, WAV)


async def test_a_child_that_cannot_start_is_the_servers_fault(pool, monkeypatch, caplog):
    monkeypatch.setattr(child, "_MODULE", "app.audio.no_such_module")
    with pytest.raises(Unavailable):
        await decoded(pool, WAV)
    assert "no decoder can be started" in caplog.text


def test_processor_time_is_each_recordings_own():
    script = (
        "import resource, time\n"
        "from app.audio import limits\n"
        "soft = lambda: resource.getrlimit(resource.RLIMIT_CPU)[0] - time.process_time()\n"
        "budget = limits.ProcessorTime(0); print(soft())\n"
        "budget.earn(50.0); print(soft())\n"
        "limits.ProcessorTime(10**9); print(soft())\n"
        "limits.ProcessorTime(0); print(soft())\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    for seconds, expected in zip(map(float, told.split()), (10, 20, 110, 10), strict=True):
        assert expected <= seconds <= expected + 1
