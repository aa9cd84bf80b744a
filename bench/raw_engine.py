"""The engine without the service: clips as waveforms, straight into vLLM's AsyncLLM.

Started by bench.http as `python -m bench.raw_engine CACHE FINGERPRINT CLIP…`. For each line
"CONCURRENCY REQUESTS" on standard input it prints [requests a second, [seconds a request…]].
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE, Samples, to_pcm
from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.store import Entry, Store
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.models.whisper_vllm.decoder import TokenRequest
from app.models.whisper_vllm.encoder_length import EncoderLengths, padded
from app.models.whisper_vllm.messages import EngineStart
from app.models.whisper_vllm.plan import pick_device, plan_engine
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.shape import ModelShape
from app.models.whisper_vllm.tokens import SpecialTokens
from app.speech.windows import Window
from bench.http import load
from bench.options import parser


async def answer(answers: Any, llm: Any, tokens: SpecialTokens, waves: list[Samples]) -> None:
    from vllm.renderers.inputs.preprocess import parse_model_prompt
    from vllm.sampling_params import RequestOutputKind

    from app.models.whisper_vllm.vllm_windows import sampling_of

    # What the service samples with, its own rules among it: the same tokens come out.
    request = TokenRequest(Window.of(0, to_pcm(waves[0])), WindowRules(), (tokens.start,))
    sampling = sampling_of(tokens, request, tokens.max_tokens - 1)
    sampling.output_kind = RequestOutputKind.FINAL_ONLY
    numbers, turns = itertools.count(), itertools.cycle(waves)

    async def transcribe() -> None:
        data = {"audio": (next(turns), SAMPLE_RATE)}
        audio = {"prompt_token_ids": [0], "multi_modal_data": data}
        prompt = {"encoder_prompt": audio, "decoder_prompt": {"prompt_token_ids": [tokens.start]}}
        parsed = parse_model_prompt(llm.model_config, prompt)
        (rendered,) = await llm.renderer.render_cmpl_async([parsed])
        async for _ in llm.generate(rendered, sampling, f"raw-{next(numbers)}"):
            pass

    async def client(ask: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        await ask(transcribe)

    print("ready", file=answers, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        concurrency, requests = map(int, line.split())
        print(json.dumps(await load(client, concurrency, requests)), file=answers, flush=True)


async def start(answers: Any, entry: Entry, clips: list[Path]) -> None:
    folder = entry.folder
    device = pick_device("auto")
    variables = forkserver.environment(device, "info")
    for name, value in variables.items():
        os.environ.setdefault(name, value)  # before vLLM is imported
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from app.models.whisper_vllm.engine_arguments import engine_arguments

    tokens = SpecialTokens.load(folder)
    plan = plan_engine(ModelShape.of(folder), device)
    lengths = EncoderLengths.of(folder, "auto", Checkpoint.of(entry).known_as)
    waves = [as_heard(clip, lengths) for clip in clips]
    heads = AlignmentHeads.of(folder).heads
    asked = engine_arguments(EngineStart("raw", folder, plan, tokens, heads, is_observed=True))
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**vars(asked)))
    try:
        await answer(answers, llm, tokens, waves)
    finally:
        llm.shutdown()


def as_heard(clip: Path, lengths: EncoderLengths) -> Samples:
    """Return a clip's samples and as much silence behind them as the service hears it with: the
    encoder is as long as what it is given."""
    with clip.open("rb") as file:
        samples = decode(file, max_seconds=30).samples
    return padded(samples, lengths.positions(1000 * len(samples) // SAMPLE_RATE))


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.raw_engine", __doc__)
    wanted.add_argument("cache", type=Path)
    wanted.add_argument("fingerprint")
    wanted.add_argument("clips", type=Path, nargs="+")
    asked = wanted.parse_args(argv)
    # vLLM prints where it likes; the answers have standard output to themselves.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    entry = Store(asked.cache).find(asked.fingerprint)
    assert entry, f"{asked.fingerprint} is not in {asked.cache}"
    asyncio.run(start(own, entry, asked.clips))


if __name__ == "__main__":
    main()
    os._exit(0)  # AsyncLLM's finalizer fails in an interpreter that is being taken down
