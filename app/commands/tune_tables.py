"""What `marlinscribe tune` prints: bits by layer, what they cost and lose, and the Pareto front."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from app.checkpoints.device import described
from app.quantization.choosing import Choice, clip_times
from app.tuning.engine_times import Measured
from app.tuning.findings import varied
from app.tuning.options import Chosen, shown
from app.tuning.wish import DEFAULT, Tuning

_PARTS = ("self_attn.qkv", "self_attn.out", "encoder_attn.q", "encoder_attn.kv",
          "encoder_attn.out", "fc1", "fc2")  # fmt: skip
_KEPT = "bf16"
_SAVED = {"seconds": "less time", "bytes": "fewer bytes"}
_SCENARIOS = {
    "latency": "one window at a time",
    "throughput": "16 windows at once",
    "memory": "one window at a time",
}


def show(console: Console, choice: Choice) -> None:
    """Print a choice and what it was chosen from."""
    found, findings = choice.tuning, choice.findings
    console.print(f"Measured on {described(findings.facts)}.", highlight=False)
    for doubt in findings.doubts:
        console.print(doubt, style="yellow", highlight=False)
    for stack in ("encoder", "decoder"):
        console.print(bits(stack, found.schemes))
    scenario = found.wish.scenario
    title = f"{scenario}: a clip of {found.wish.clip_seconds:g} s, {_SCENARIOS[scenario]}"
    console.print(choices(title, found))
    console.print(found.verdict, highlight=False)
    console.print(measured(choice.lost), highlight=False)


def bits(stack: str, schemes: Mapping[str, str]) -> Table:
    """Return a table of the schemes of a stack: a row for each layer."""
    rows: dict[str, dict[str, str]] = {}
    for name, scheme in schemes.items():
        own, _, layer, part = name.split(".", 3)
        if own == stack:
            rows.setdefault(layer, {})[part] = _KEPT if scheme == "none" else scheme
    columns = [part for part in _PARTS if any(part in row for row in rows.values())]
    table = Table(stack, *columns, highlight=False)
    for layer, row in rows.items():
        table.add_row(layer, *(row[part] for part in columns))
    return table


def choices(title: str, found: Tuning) -> Table:
    """Return a table of the front, with what was chosen, and of the uniform recipes."""
    columns = ("", "a clip", "weights", "loss expected", "by layer, at no more loss")
    table = Table(*columns, title=title, highlight=False)
    for number, one in enumerate(found.front, 1):
        is_chosen = one == found.choice
        style = "bold" if is_chosen else None
        table.add_row(f"{number}{' (chosen)' if is_chosen else ''}", *_figures(one), style=style)
    table.add_section()
    for name, one in found.uniform.items():
        gain = f"{100 * found.gain(name):.1f} % {_SAVED[found.wish.minimised]}"
        table.add_row("unquantized" if name == "none" else name, *_figures(one), gain)
    return table


def _figures(one: Chosen) -> Iterable[str]:
    return (
        shown("seconds", one.seconds),
        shown("bytes", one.bytes),
        f"{one.loss:.5f} nats a token",
    )


def measured(lost: Sequence[float]) -> str:
    """Return in a sentence what the choice and the default recipe were measured to lose."""
    choice, default = lost
    return (
        f"Measured, rounded to nearest: {choice:.5f} nats a token are lost, by {DEFAULT} "
        f"{default:.5f}."
    )


def show_timed(console: Console, choice: Choice, timed: Measured) -> None:
    """Print what was predicted of an engine beside what it takes, and what the source's takes."""
    cost = choice.findings.cost(choice.tuning.wish.clip_seconds)
    predicted, source = cost.engine_times(choice.tuning.schemes), choice.findings.whole.times
    columns = ("ms", "unquantized", "predicted", "measured", "ratio")  # of these two
    table = Table(*columns, highlight=False)
    three = (source, predicted, timed.times)
    rows = {"an encoder's pass": [one.encoder for one in three]}
    for count in timed.times.step:
        rows[f"a decoder's step, {count} at once"] = [one.step[count] for one in three]
    for count in timed.times.step:
        clip = {"at_once": count, "tokens": cost.tokens}
        name = f"a clip of {choice.tuning.wish.clip_seconds:g} s, {count} at once"
        rows[name] = [clip_times(clip, one)["clip"] for one in three]
    for name, seconds in rows.items():
        told = (f"{1000 * one:.2f}" for one in seconds)
        table.add_row(name, *told, f"{seconds[1] / seconds[2]:.2f}")
    console.print(table)
    if timed.unsteady:
        console.print(varied(f"the candidate: {timed.spread:.0%}"), style="yellow", highlight=False)
