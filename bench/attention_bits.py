"""What attention over eight bits keeps, beside vLLM's over sixteen: the decoder's, to a window's
keys and values, and the encoder's scores where the checkpoint's encoder has eight bits too.

    python -m bench.attention_bits [--model NAME]

A checkpoint transcribes the bundled judge (synthetic neural voices) and the few recordings of real
readers both ways, on a processor. Recovery and points are bench.recovery's, of eight bits beside
sixteen. The default is OpenAI's whisper-base as it came; a folder is taken too.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from app.checkpoints.checkpoint import Checkpoint
from app.models.whisper_vllm import family, forkserver
from app.models.whisper_vllm.plan import EnginePlan, pick_device, plan_engine
from app.models.whisper_vllm.shape import ModelShape
from app.quantization.acceptance import score
from app.settings import Settings
from app.sources.resolve import resolve
from bench.options import parser
from bench.recovery import MODEL, Bench, rows
from bench.steps import in_sixteen_bits

HEAD = (
    "| judged on | | recordings | 16 bits | 8 bits | recovery | points |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def _vllms_plan(shape: ModelShape, *arguments: Any, **named: Any) -> EnginePlan:
    return in_sixteen_bits(plan_engine(shape, *arguments, **named), shape)


async def compared(bench: Bench, checkpoint: Checkpoint) -> None:
    """Print a row for each judge and language."""
    eight = await bench.transcribed(checkpoint)
    with patch.object(family, "plan_engine", _vllms_plan):
        sixteen = await bench.transcribed(checkpoint)
    print(HEAD)
    for name, clips in bench.judges.items():
        _, sentences = score(clips, sixteen[name], eight[name])
        for line in rows(sentences):
            print(f"| {name} | {line} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.attention_bits", __doc__, clips=400)
    wanted.add_argument("--model", default=MODEL, help="a name or a folder (default: %(default)s)")
    asked = wanted.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    settings = Settings(model=asked.model)
    device = pick_device(settings.device)
    forkserver.start(device, forkserver.environment(device, "warning"))
    source = resolve(settings.model, settings.cache_dir)
    asyncio.run(compared(Bench(settings, asked.clips), Checkpoint(source, source.folder)))


if __name__ == "__main__":
    main()
