"""What a mixture of bits by layer keeps and takes, beside one scheme for the whole decoder that
takes as many bytes.

    marlinscribe tune openai/whisper-base --scenario latency --most-mb 90 --out order.json
    python -m bench.mixture order.json

The other recipe is the default in four bits (encoder in eight, decoder in four), with the mixture's
embedding. Both are made, and transcribe bench.recovery's judges: recovery and points are of the
mixture beside the other. Then both engines are up at once and decode one window of bundled speech
in turn, so many times at once: the ratio of seconds is of the same round, in brackets between the
rounds.
"""

import asyncio
import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.checkpoints.checkpoint import Checkpoint
from app.checkpoints.recipe import Recipe
from app.models.base import DecodeRequest
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.plan import pick_device
from app.quantization.acceptance import score
from app.quantization.builder import CheckpointBuilder
from app.quantization.settings_recipe import settings_fields, settings_recipe
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.resolve import resolve
from app.sources.source import Source
from app.tuning.engine_times import AT_ONCE, at_once, spoken_window
from bench.options import parser
from bench.recovery import JUDGES, Bench, rows


def recipes(order: Mapping[str, Any], settings: Settings, source: Source) -> list[Recipe]:
    """Return the other recipe and the mixture; what learns does so from the same recordings."""
    device = pick_device(settings.device)
    fields = settings_fields(settings, source, device, in_four_bits=True)
    embedding = {"embedding": order["recipe"]["components"]["embedding"]}
    fields["components"] = dict(fields["components"]) | embedding
    other = settings_recipe(settings, source, device, **fields)
    same = {"calibration": other.calibration} if order["recipe"].get("method") != "rtn" else {}
    return [other, Recipe.model_validate(order["recipe"] | same | {"dtype": other.dtype})]


async def kept(settings: Settings, clips: int, uniform: Checkpoint, mixture: Checkpoint) -> None:
    """Print what the mixture keeps of what the other is heard to say."""
    bench = Bench(settings, clips)
    before, after = await bench.transcribed(uniform), await bench.transcribed(mixture)
    print("| judged on | | recordings | uniform | mixture | recovery | points |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, several in bench.judges.items():
        for line in rows(score(several, before[name], after[name])[1]):
            print(f"| {name} | {line} |", flush=True)


async def taken(settings: Settings, rounds: int, uniform: Checkpoint, mixture: Checkpoint) -> None:
    """Print the seconds in which each decodes a window, in turn."""
    loader = Loader(settings, pick_device(settings.device))
    models = [
        (await loader.load(one, None, windows=max(AT_ONCE), patient=True)).loaded
        for one in (uniform, mixture)
    ]
    window, language = spoken_window(read(Recordings(sources=(str(JUDGES["neural voices"]),))))
    request = DecodeRequest(window, languages=(language,), fallback=False, is_whole=True)
    print("| at once | uniform, s | mixture, s | uniform / mixture |\n| --- | --- | --- | --- |")
    for count in AT_ONCE:
        seconds: tuple[list[float], list[float]] = [], []
        for n in range(rounds + 1):
            for which in (0, 1) if n % 2 else (1, 0):
                run = await at_once(models[which].decoder, request, count)
                seconds[which].append(run.seconds)
        pairs = list(zip(*seconds, strict=True))[1:]  # the first warms
        medians = [statistics.median(one) for one in zip(*pairs, strict=True)]
        ratios = sorted(a / b for a, b in pairs)
        between = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"| {count} | {medians[0]:.3f} | {medians[1]:.3f} | {between} |", flush=True)
    for model in models:
        await asyncio.to_thread(model.engine.stop)


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.mixture", __doc__, rounds=7, clips=400)
    wanted.add_argument("order", type=Path, help="what `marlinscribe tune` wrote")
    wanted.add_argument("--cache", type=Path, help="keep what is made here, or find it")
    asked = wanted.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    order = json.loads(asked.order.read_text("utf-8"))
    settings = Settings(model=order["model"])
    if asked.cache:
        settings = settings.model_copy(update={"cache_dir": asked.cache})
    device = pick_device(settings.device)
    forkserver.start(device, forkserver.environment(device, "warning"))
    source = resolve(settings.model, settings.cache_dir)
    builder = CheckpointBuilder(settings)
    made = [builder.make(source, one, lambda _: None) for one in recipes(order, settings, source)]
    for name, entry in zip(("uniform", "mixture"), made, strict=True):
        size = sum(file.stat().st_size for file in entry.folder.glob("*.safetensors"))
        print(f"{name}: {size / 1e6:.1f} MB", flush=True)
    both = [Checkpoint.of(entry) for entry in made]
    asyncio.run(kept(settings, asked.clips, *both))
    asyncio.run(taken(settings, asked.rounds, *both))


if __name__ == "__main__":
    main()
