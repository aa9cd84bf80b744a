"""A child that does what the recording says, as a codec with a hole in it might: for test_pool."""

import ctypes
import os
import time

from app.audio import decode, limits, worker

_decode_to = decode._decode_to
limits._FIRST_SECONDS = 1.0
limits._MEMORY = 2**27


def obey(write, file, max_seconds, selection):
    match file.read(5):
        case b"spin ":
            while True:
                pass
        case b"grow ":
            return len([b"x" * 2**24 for _ in range(12)])  # 192 MiB
        case b"crash":
            ctypes.string_at(0)
        case b"raise":
            raise KeyError("a defect of our own")
        case b"open ":
            os.open(__file__, os.O_RDONLY)
        case b"flood":
            for _ in range(64):
                write(memoryview(bytes(2**20)))
            return decode.Decoded(1, 1)
        case b"leave":
            os.close(0)
            time.sleep(1000)
        case b"sleep":
            time.sleep(1000)
    file.seek(0)
    return _decode_to(write, file, max_seconds, selection)


if __name__ == "__main__":
    decode._decode_to = obey
    worker.main()
