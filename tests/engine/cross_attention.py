"""A program that decodes windows with keys and values of eight bits, or with vLLM's of sixteen, and
writes what came.

python -m tests.engine.cross_attention OUT.json 8|16
"""

import json
import os
import sys
from pathlib import Path

from app.audio.decode import decode
from app.environment import DEMO, DEMO_MODEL
from bench.steps import started
from tests.engine.direct_step import TOKENS, heard


def main(out, bits):
    llm = started(DEMO_MODEL, TOKENS, bits=bits)
    from app.models.whisper_vllm.vllm_windows import Windows

    windows = Windows(llm, TOKENS)
    with (DEMO / "recordings" / "radio.mp3").open("rb") as file:
        pcm = decode(file, max_seconds=30).pcm
    plain, prompted = (TOKENS.start,), (TOKENS.start_of_previous, *range(300, 330), TOKENS.start)
    # The first again at the end, so that windows come to places that others had.
    told = [heard(llm, windows, pcm, prompt) for prompt in (plain, prompted, plain)]
    out.write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # the engine's own threads do not end
