"""A program that decodes the demo's recording, and writes what its heads attended to: as it was
recorded in vLLM, and as transformers computes it of the same tokens.

    python -m tests.engine.attention OUT.npz
"""

import asyncio
import sys
from pathlib import Path

import numpy as np
import torch

from app.audio.decode import decode
from app.audio.waveform import to_pcm
from app.environment import DEMO, DEMO_MODEL
from app.models.base import DecodeRequest
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.models.whisper_vllm.decoder import WhisperDecoder
from app.models.whisper_vllm.engine import VllmEngine
from app.models.whisper_vllm.plan import plan_engine
from app.models.whisper_vllm.rules import WindowRules, forced_steps
from app.models.whisper_vllm.shape import ModelShape
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window

TOKENS = SpecialTokens.load(DEMO_MODEL)
HEADS = AlignmentHeads.of(DEMO_MODEL).heads


async def recorded(window):
    """The ids that were decoded, and what chose them."""
    plan = plan_engine(ModelShape.of(DEMO_MODEL), "cpu", windows=2)
    engine = await asyncio.to_thread(
        VllmEngine.start, "demo", DEMO_MODEL, plan, TOKENS, None, HEADS
    )
    try:
        decoder = WhisperDecoder(engine, TOKENS, TextCodec(DEMO_MODEL, TOKENS))
        request = DecodeRequest(window, ("en",), words=True)
        results = [result async for result in decoder.decode_window(request)]
        sampled, attention = await decoder.attended(results[-1])
        return [token for token, _ in sampled], attention
    finally:
        await asyncio.to_thread(engine.stop)


def teacher_forced(window, ids, frames):
    """The heads' weights at each id, of the first frames alone."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(
        DEMO_MODEL, attn_implementation="eager", dtype=torch.float32
    )
    extract = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    features = extract(window.samples, sampling_rate=16_000, return_tensors="pt").input_features
    forced = [step[0] for step in forced_steps(TOKENS, WindowRules(("en",)))]
    prompt = [TOKENS.start, *forced]
    with torch.inference_mode():
        told = model(
            features,
            decoder_input_ids=torch.tensor([[*prompt, *ids]]),
            output_attentions=True,
        ).cross_attentions
    rows = slice(len(prompt) - 1, len(prompt) - 1 + len(ids))
    weights = np.stack([told[layer][0, head, rows, :frames].numpy() for layer, head in HEADS])
    return weights / weights.sum(axis=-1, keepdims=True)


def main(out):
    forkserver.start("cpu", forkserver.environment("cpu", "info"))
    with (DEMO / "recordings" / "radio.mp3").open("rb") as file:
        samples = decode(file, max_seconds=30).samples
    window = Window.of(0, to_pcm(samples[: 9 * 16_000]))
    ids, attention = asyncio.run(recorded(window))
    weights = attention.weights()
    np.savez(out, recorded=weights, expected=teacher_forced(window, ids, weights.shape[-1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
