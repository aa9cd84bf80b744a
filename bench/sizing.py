"""The presets in deploy/ and the tables of docs/sizing.md, from the budget that the service has.

    python -m bench.sizing [--write]

Prints both tables; `--write` puts them into the page, and the presets into their files.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from app.cli import main as marlinscribe
from app.commands.plan import DEFAULT_MODEL, DEFAULT_SCHEME
from app.errors import EngineFailed
from app.models.base import Device
from app.models.whisper_vllm.budget import MIB, Budget, Memory, budget_of
from app.models.whisper_vllm.shape import SHAPES, Architecture
from bench.options import parser

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "sizing.md"
BEGIN, END = "<!-- sizing -->", "<!-- /sizing -->"

# Files in deploy/ to what they are for.
PRESETS: dict[str, tuple[Device, int]] = {
    "8gb": ("cuda", 8),
    "12gb": ("cuda", 12),
    "16gb": ("cuda", 16),
    "24gb": ("cuda", 24),
    "cpu": ("cpu", 16),
}


def preset(name: str) -> str:
    """What its file holds: what `marlinscribe plan` prints."""
    device, gigabytes = PRESETS[name]
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = marlinscribe(
            ["plan", "--vram" if device == "cuda" else "--ram", str(gigabytes), "--env"]
        )
    assert status == 0, name
    return printed.getvalue()


def tables() -> str:
    return "\n".join([*_budgets(), "", *_windows()])


def _budget(name: str, shape: Architecture, scheme: str) -> Budget:
    """Raises EngineFailed where not one window fits."""
    device, gigabytes = PRESETS[name]
    memory = Memory.of_a_card if device == "cuda" else Memory.of_a_machine
    return budget_of(shape.geometry(scheme), device, memory(gigabytes))


def _budgets() -> list[str]:
    """Lines by preset, in MiB, for the default model."""
    budgets = [_budget(name, SHAPES[DEFAULT_MODEL], DEFAULT_SCHEME) for name in PRESETS]
    yields: dict[str, list[int]] = {
        "total, as sold": [b.total for b in budgets],
        "driver and display, or system and service; estimated": [b.taken for b in budgets],
        "half of what is free, for all but weights, keys and values": [b.kept for b in budgets],
        "CUDA context, cuBLAS; estimated": [b.context for b in budgets],
        "weights; computed": [b.weights for b in budgets],
        "encoder's activations; estimated": [b.encoding for b in budgets],
        "CUDA graphs; estimated": [b.graphs for b in budgets],
        "keys and values; computed": [b.kv for b in budgets],
        "left": [b.left for b in budgets],
    }
    rows = [_row("MiB", *PRESETS), _row("---", *["---"] * len(PRESETS))]
    rows += [
        _row(what, *(f"{size / MIB:.0f}" if size else "" for size in sizes))
        for what, sizes in yields.items()
    ]
    rows.append(_row("windows that fit", *(str(b.fits) for b in budgets)))
    return [*rows, _row("**windows at once**", *(f"**{b.windows}**" for b in budgets))]


def _windows() -> list[str]:
    """Windows at once by model and preset, W4A16 and 16-bit."""
    rows = [_row("", "weights, MiB", "window, MiB: card / processor", *PRESETS)]
    rows.append(_row("---", *["---"] * (2 + len(PRESETS))))
    for model, shape in SHAPES.items():
        schemes = (DEFAULT_SCHEME, "bf16")
        weights = " / ".join(f"{shape.weight_bytes(s) / MIB:.0f}" for s in schemes)
        geometry = shape.geometry(DEFAULT_SCHEME)
        kept = (geometry.window_bytes("cuda"), geometry.window_bytes("cpu"))
        window = " / ".join(f"{size / MIB:.0f}" for size in kept)
        cells = (" / ".join(_at_once(name, shape, s) for s in schemes) for name in PRESETS)
        rows.append(_row(model, weights, window, *cells))
    return rows


def _at_once(name: str, shape: Architecture, scheme: str) -> str:
    try:
        return str(_budget(name, shape, scheme).windows)
    except EngineFailed:
        return "none"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def main(argv: Sequence[str] | None = None) -> None:
    wanted = parser("bench.sizing", __doc__)
    wanted.add_argument("--write", action="store_true", help=f"{PAGE.name} and deploy/*.env")
    arguments = wanted.parse_args(argv)
    print(tables())
    if arguments.write:
        page = PAGE.read_text("utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        PAGE.write_text(f"{before}{BEGIN}\n{tables()}\n{END}{after}", "utf-8")
        for name in PRESETS:
            (ROOT / "deploy" / f"{name}.env").write_text(preset(name), "utf-8")


if __name__ == "__main__":
    main()
