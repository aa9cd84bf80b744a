"""A program that decodes windows of unequal length with a shortened encoder, together and one by
one, and writes what it heard.

    python -m tests.engine.short_encoder OUT.json
"""

import asyncio
import json
import sys
from pathlib import Path

from app.audio.decode import decode
from app.environment import DEMO, DEMO_MODEL
from app.models.base import DecodeRequest
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.models.whisper_vllm.decoder import WhisperDecoder
from app.models.whisper_vllm.encoder_length import EncoderLengths
from app.models.whisper_vllm.engine import VllmEngine
from app.models.whisper_vllm.plan import plan_engine
from app.models.whisper_vllm.shape import ModelShape
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import MOST_FRAMES, SpecialTokens
from app.speech.windows import Window

SECONDS = (3, 9, 5)
_TOKENS = SpecialTokens.load(DEMO_MODEL)


async def heard(decoder, engine, seconds, pcm):
    """The text of the recording's first seconds, its words, and the encoder's positions."""
    window = Window.of(0, pcm[: seconds * 16_000])
    request = DecodeRequest(window, ("en",), words=True)
    async for one in decoder.decode_window(request):
        result = one
    asked = (result.origin.asked.recorded, 0, 1, MOST_FRAMES)
    if seconds == max(SECONDS):  # words and positions are told once
        segments = await decoder.align(result, result.closed)
        words = [(w.start_ms, w.end_ms, w.text) for s in segments for w in s.words]
        positions = None
    else:
        words = None
        found = await engine.call("take_attention", *asked)
        positions = len(found["keys"]) // (2 * found["heads"] * found["size"])
    segments = [*result.closed, *([result.tail] if result.tail else [])]
    return {
        "seconds": seconds,
        "text": "".join(one.text for one in segments),
        "words": words,
        "positions": positions,
        "expected": result.origin.asked.positions,
    }


async def decoded(pcm):
    plan = plan_engine(ModelShape.of(DEMO_MODEL), "cpu", windows=4)
    heads = AlignmentHeads.of(DEMO_MODEL)
    engine = await asyncio.to_thread(
        VllmEngine.start, "demo", DEMO_MODEL, plan, _TOKENS, None, heads.heads
    )
    try:
        codec = TextCodec(DEMO_MODEL, _TOKENS)
        decoder = WhisperDecoder(
            engine, _TOKENS, codec, heads.lags, lengths=EncoderLengths(source="asked")
        )
        alone = [await heard(decoder, engine, one, pcm) for one in SECONDS]
        together = await asyncio.gather(*[heard(decoder, engine, one, pcm) for one in SECONDS])
        return {"alone": alone, "together": together}
    finally:
        await asyncio.to_thread(engine.stop)


def main(out):
    forkserver.start("cpu", forkserver.environment("cpu", "info"))
    with (DEMO / "recordings" / "radio.mp3").open("rb") as file:
        pcm = decode(file, max_seconds=30).pcm
    out.write_text(json.dumps(asyncio.run(decoded(pcm))), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
