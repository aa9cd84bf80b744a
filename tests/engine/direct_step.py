"""A program that decodes windows by direct steps and by vLLM's own, and writes what came.

python -m tests.engine.direct_step OUT.json
"""

import json
import os
import sys
from itertools import count
from pathlib import Path

from app.audio.decode import decode
from app.environment import DEMO, DEMO_MODEL
from app.models.whisper_vllm.decoder import TokenRequest
from app.models.whisper_vllm.messages import Decode
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window
from bench.steps import started

TOKENS = SpecialTokens.load(DEMO_MODEL)
_SECONDS = (4, 7, 5)
_numbers = count()


def heard(llm, windows, pcm, prompt=(TOKENS.start,)):
    """Each window's tokens with their log-probabilities, all decoded at once."""
    told = {}
    for seconds in _SECONDS:
        number = next(_numbers)
        window = Window.of(0, pcm[: seconds * 16_000])
        request = TokenRequest(window, WindowRules(), prompt)
        asked = Decode(number, request, TOKENS.max_tokens - len(prompt), None)
        windows.add(windows.rendered(asked))
        told[number] = []
    while llm.has_unfinished_requests():
        for one in filter(None, map(windows.arrived, llm.step())):
            told[one.number] += one.step.sampled
    return list(told.values())


def main(out):
    llm = started(DEMO_MODEL, TOKENS)
    from app.models.whisper_vllm.vllm_windows import Windows

    windows = Windows(llm, TOKENS)
    with (DEMO / "recordings" / "radio.mp3").open("rb") as file:
        pcm = decode(file, max_seconds=30).pcm
    directly = heard(llm, windows, pcm)
    (decoder,) = llm.apply_model(lambda model: model.model.decoder)
    del decoder.forward  # its own; its class's is vLLM's
    told = {"directly": directly, "by_vllm": heard(llm, windows, pcm)}
    out.write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # the engine's own threads do not end
