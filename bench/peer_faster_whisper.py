"""What faster-whisper makes of recordings. It runs in an environment of its own, without ours:

PYTHON -m bench.peer_faster_whisper MODEL FOLDER vad|plain

reads FOLDER/tasks.json, and prints for each of its recordings a line of JSON.
"""

import json
import sys
import time
from pathlib import Path


def main(model: str, folder: Path, vad: bool) -> None:
    from faster_whisper import WhisperModel

    whisper = WhisperModel(model, device="cpu", compute_type="float32", cpu_threads=0)
    for task in json.loads((folder / "tasks.json").read_text("utf-8")):
        begun = time.monotonic()
        heard, info = whisper.transcribe(
            str(folder / task["audio"]),
            language=task["language"],
            vad_filter=vad,
            beam_size=1,
        )
        segments = [[one.start, one.end, one.text] for one in heard]
        seconds = time.monotonic() - begun
        told = {"segments": segments, "language": info.language, "seconds": seconds}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "vad")
