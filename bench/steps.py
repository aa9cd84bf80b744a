"""What a step takes in an engine by itself: of one, four and sixteen windows at once.

    python -m bench.steps --checkpoint FOLDER [--bits 16]

Windows of 25 s of the bundled prose, their features computed before, are decoded in this process by
the service's engine, each number of them together. `steps` is the median of those that decode
alone; what is left of `all` is the encoder's. The language is not told.
"""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from app.audio.decode import decode
from app.audio.waveform import SAMPLE_RATE, Pcm
from app.environment import DEMO_MODEL
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.models.whisper_vllm.decoder import TokenRequest
from app.models.whisper_vllm.messages import Decode, EngineStart
from app.models.whisper_vllm.plan import EnginePlan, pick_device, plan_engine
from app.models.whisper_vllm.rules import WindowRules
from app.models.whisper_vllm.shape import ModelShape
from app.models.whisper_vllm.tokens import SpecialTokens
from app.process import keep_freed_memory
from app.speech.windows import Window
from bench.options import parser
from bench.recordings import LONG

AT_ONCE = (1, 4, 16)
SECONDS = 25
_numbers = count()


class Run(NamedTuple):
    """One number of windows, decoded once: seconds of all and of each step, and the tokens."""

    whole: float
    steps: list[float]
    tokens: int

    @property
    def step(self) -> float:
        """Return a step's median. The few that encode are far from it."""
        return statistics.median(self.steps)


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.steps", __doc__, rounds=5)
    wanted.add_argument(
        "--checkpoint", type=Path, default=DEMO_MODEL, help="its folder (default: the demo's)"
    )
    wanted.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        default=8,
        help="of the decoder's attention to windows, and the encoder's where its layers have eight",
    )
    asked = wanted.parse_args(argv)
    tokens = SpecialTokens.load(asked.checkpoint)
    llm = started(asked.checkpoint, tokens, bits=asked.bits)
    table = Table(
        title=f"windows of {SECONDS} s, the best of {asked.rounds} rounds; attention over "
        f"{asked.bits} bits"
    )
    for column in ("windows", "all, s", "a step, ms", "steps", "tokens"):
        table.add_column(column, justify="right")
    pieces = spoken(max(AT_ONCE))
    for number in AT_ONCE:
        runs = [decoded(llm, tokens, pieces[:number]) for _ in range(asked.rounds + 1)][1:]
        best = min(runs, key=lambda run: run.whole)
        step = 1000 * min(run.step for run in runs)
        row = (number, f"{best.whole:.3f}", f"{step:.2f}", len(best.steps), best.tokens)
        table.add_row(*map(str, row))
    Console().print(table)


def started(folder: Path, tokens: SpecialTokens, *, bits: int = 8) -> Any:
    """Return an engine of this process, as the service has one in another. bits: of attention,
    8, or 16 as vLLM has it."""
    device = pick_device("auto")
    for name, value in forkserver.environment(device, "warning").items():
        os.environ.setdefault(name, value)  # before vLLM is imported
    keep_freed_memory()
    from app.models.whisper_vllm.engine_process import start_engine

    shape = ModelShape.of(folder)
    plan = plan_engine(shape, device, windows=max(AT_ONCE))
    plan = plan if bits == 8 else in_sixteen_bits(plan, shape)
    heads = AlignmentHeads.of(folder).heads
    return start_engine(EngineStart("steps", folder, plan, tokens, heads, is_observed=False))


def in_sixteen_bits(plan: EnginePlan, shape: ModelShape) -> EnginePlan:
    """Return a plan in which attention is vLLM's."""
    pool = (plan.windows + 1) * shape.window_bytes("cuda")  # it keeps some blocks for itself
    return replace(plan, in_eight_bits=False, kv_bytes=pool, pool_bytes=pool)


def spoken(number: int) -> list[Pcm]:
    """Return pieces of prose, each as long as a window nearly is."""
    with (LONG / "prose.ogg").open("rb") as file:
        pcm = decode(file, max_seconds=3600).pcm
    piece = SECONDS * SAMPLE_RATE
    return [pcm[n * piece : (n + 1) * piece] for n in range(number)]


def decoded(llm: Any, tokens: SpecialTokens, pieces: Sequence[Pcm]) -> Run:
    """Decode them together."""
    from app.models.whisper_vllm.vllm_windows import Windows

    windows, rendered = Windows(llm, tokens), []
    for piece in pieces:
        request = TokenRequest(Window.of(0, piece), WindowRules(), (tokens.start,))
        asked = Decode(next(_numbers), request, tokens.max_tokens - 1, None)
        rendered.append(windows.rendered(asked))
    began, steps, came = time.perf_counter(), [], 0
    for window in rendered:
        windows.add(window)
    while llm.has_unfinished_requests():
        step = time.perf_counter()
        for output in llm.step():
            came += len(output.outputs[0].token_ids)
            windows.arrived(output)
        steps.append(time.perf_counter() - step)
    return Run(time.perf_counter() - began, steps, came)


if __name__ == "__main__":
    main()
    os._exit(0)  # the engine's own threads do not end
