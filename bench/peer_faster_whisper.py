"""What faster-whisper makes of recordings. It runs in an environment of its own, without ours:

PYTHON -m bench.peer_faster_whisper MODEL vad|plain FOLDER

reads FOLDER/tasks.json, and prints for each of its tasks a line of JSON.
"""

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_faster_whisper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model")
    wanted.add_argument("detector", choices=("vad", "plain"))
    wanted.add_argument("folder", type=Path)
    asked = wanted.parse_args()
    transcribe(asked.model, asked.folder, vad=asked.detector == "vad")


def transcribe(model: str, folder: Path, *, vad: bool) -> None:
    """Print what is heard for each task of the folder's tasks.json, a line each."""
    from faster_whisper import WhisperModel

    whisper = WhisperModel(model, device="cpu", compute_type="float32", cpu_threads=0)
    if not whisper.model.is_multilingual:
        raise SystemExit(f"{model} is a model of English alone: not the same weights")
    for task in json.loads((folder / "tasks.json").read_text("utf-8")):
        begun = time.monotonic()
        heard, info = whisper.transcribe(
            str(folder / task["audio"]),
            language=task["language"],
            vad_filter=vad,
            beam_size=1,
            word_timestamps=task["words"],
        )
        several = list(heard)
        told = {
            "seconds": time.monotonic() - begun,
            "segments": [[one.start, one.end, one.text] for one in several],
            "words": [[w.start, w.end, w.word] for one in several for w in one.words or ()],
            "language": info.language,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
