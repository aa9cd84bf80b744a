"""marlinscribe serve | quantize | tune | align-heads | short-encoder | cache | plan |
transcribe FILE… | evaluate SET | bench FILE…"""

import argparse
from pathlib import Path
from typing import get_args

from app import __version__
from app.checkpoints.recipe import Component, written_scheme
from app.commands import (
    align_heads,
    bench_arguments,
    cache,
    plan,
    quantize,
    serve,
    server_arguments,
    short_encoder,
    tune_arguments,
)
from app.commands.argument_types import days, gigabytes, share
from app.environment import DEMO


def main(arguments: list[str] | None = None) -> int:
    """Run one command, of the process's own arguments where none are given; the status to end
    with."""
    chosen = parser().parse_args(arguments)
    return int(chosen.run(chosen))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the default `run` of each command is its function."""
    parser = argparse.ArgumentParser(prog="marlinscribe", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)

    serve_parser = commands.add_parser(
        "serve", help="run the service; MARLINSCRIBE_* variables set it up"
    )
    serve_parser.set_defaults(run=serve.serve)

    quantize_parser = commands.add_parser(
        "quantize", help="make the checkpoint that serve would make, prove it, print its folder"
    )
    quantize_parser.add_argument(
        "model", nargs="?", help="Hugging Face id or folder; else MARLINSCRIBE_MODEL's"
    )
    quantize_parser.add_argument("--calibration", help="recordings to learn from; else as set")
    quantize_parser.add_argument(
        "--method",
        choices=["gptq", "awq", "autoround", "rtn"],
        dest="quantization",
        help="how to find the weights; else MARLINSCRIBE_QUANTIZATION's",
    )
    quantize_parser.add_argument(
        "--scheme",
        choices=["W4A16", "W8A16", "W8A8", "W3A16", "W2A16"],
        help="bits of weights and activations (default: what a start would make)",
    )
    quantize_parser.add_argument(
        "--group-size",
        choices=["32", "64", "128", "channel"],
        help="weights that share a scale; else MARLINSCRIBE_GROUP_SIZE's",
    )
    quantize_parser.add_argument(
        "--component",
        action="append",
        type=_component,
        dest="components",
        metavar="NAME=SCHEME",
        help="a scheme of its own for a part, perhaps with a group size, or none: "
        "encoder.mlp=none; may be given several "
        f"times (parts: {', '.join(get_args(Component))})",
    )
    quantize_parser.add_argument(
        "--layers",
        action="append",
        type=_layers,
        metavar="PATTERN=SCHEME",
        help="the same for layers, by a shell-like pattern: decoder.layers.[0-2].*=W8A8; may be "
        "given several times, and later ones win",
    )
    quantize_parser.add_argument(
        "--emulate",
        action="store_const",
        const=True,
        help="write dequantized weights, to prove a scheme that no kernel here serves",
    )
    quantize_parser.add_argument(
        "--prove",
        metavar="RECORDINGS",
        help="recordings with known words to measure by: a manifest, a folder or a hub's set",
    )
    quantize_parser.add_argument(
        "--min-recovery",
        type=share,
        help="least recovery, the source's error rate by the candidate's (default: 0.9)",
    )
    quantize_parser.add_argument(
        "--order",
        type=Path,
        metavar="FILE",
        help="an order in JSON, as POST /quantize takes it; without a proof it is made, unproven",
    )
    quantize_parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the whole proof to this file"
    )
    quantize_parser.set_defaults(run=quantize.quantize)

    tune_arguments.add_tune(
        commands.add_parser(
            "tune", help="choose bits by layer for this device, by what is measured on it"
        )
    )
    _add_align_heads(
        commands.add_parser(
            "align-heads", help="choose the heads that a checkpoint's words are aligned by"
        )
    )
    _add_short_encoder(
        commands.add_parser("short-encoder", help="measure what a shorter encoder costs")
    )
    _add_cache(
        commands.add_parser(
            "cache", help="list checkpoints and converted sources, and delete what may go"
        )
    )
    _add_plan(
        commands.add_parser(
            "plan", help="print where a device's memory goes, and the settings that follow"
        )
    )

    server = server_arguments.server()
    server_arguments.add_transcribe(
        commands.add_parser(
            "transcribe",
            parents=[server],
            help="have a server transcribe recordings, and folders of them",
        )
    )
    server_arguments.add_evaluate(
        commands.add_parser(
            "evaluate",
            parents=[server],
            help="measure a server's error rates on recordings with known words",
        )
    )
    bench_arguments.add_bench(
        commands.add_parser(
            "bench",
            parents=[server],
            help="measure how fast a server is with your recordings, and where the time goes",
        )
    )
    return parser


def _component(text: str) -> tuple[str, str]:
    name, scheme = _layers(text)
    if name not in get_args(Component):
        raise ValueError(text)
    return name, scheme


def _layers(text: str) -> tuple[str, str]:
    pattern, _, scheme = text.rpartition("=")
    if not pattern:
        raise ValueError(text)
    try:
        return pattern, written_scheme(scheme)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_component.__name__ = "part and scheme, such as encoder.mlp=W8A8"
_layers.__name__ = "pattern and scheme, such as decoder.layers.[0-2].*=W8A8"


def _add_cache(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True)
    list_parser = commands.add_parser("list", help="what is in it, and who needs it")
    list_parser.add_argument("--json", action="store_true", help="for programs, on standard output")
    list_parser.set_defaults(run=cache.show)
    prune_parser = commands.add_parser(
        "prune",
        help="delete what nobody needs: neither served, nor asked for by the settings, nor to be "
        "rolled back to, promoted or resumed",
    )
    prune_parser.add_argument("--dry-run", action="store_true", help="say what would go")
    prune_parser.add_argument(
        "--older-than",
        type=days,
        metavar="DAYS",
        help="only what was not used for so long; then also jobs that came to nothing, and what "
        "proofs remember",
    )
    prune_parser.add_argument(
        "--all-but-serving",
        action="store_true",
        help="also what could be rolled back to, promoted or resumed, and all other jobs",
    )
    prune_parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    prune_parser.set_defaults(run=cache.prune)


def _add_align_heads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="the checkpoint's, as `marlinscribe quantize` prints it"
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        default=DEMO / "recordings" / "words",
        help="recordings whose words have known times: a manifest, or a folder with one "
        "(default: the bundled ones)",
    )
    parser.set_defaults(run=align_heads.align_heads)


def _add_short_encoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="the checkpoint's, as `marlinscribe quantize` prints it"
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        default=DEMO / "recordings" / "voices" / "judge",
        help="recordings with their words: a manifest, or a folder with one (default: the bundled "
        "ones)",
    )
    parser.set_defaults(run=short_encoder.short_encoder)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    device = parser.add_mutually_exclusive_group()
    for name, what in (("vram", "an NVIDIA card"), ("ram", "a machine without a card")):
        device.add_argument(
            f"--{name}",
            type=gigabytes,
            metavar="GB",
            help=f"plan for {what} with so much memory; else for this machine",
        )
    parser.add_argument(
        "--model",
        default=plan.DEFAULT_MODEL,
        help="a folder, or a known model's id; nothing is downloaded (default: %(default)s)",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="MODEL",
        help="a model that is served beside it (MARLINSCRIBE_MODELS); may be given several times",
    )
    parser.add_argument(
        "--scheme",
        choices=plan.SCHEMES,
        help=f"default: {plan.DEFAULT_SCHEME}, unless the folder's weights are quantized already",
    )
    parser.add_argument(
        "--env", action="store_true", help="print a file of settings, as in deploy/"
    )
    parser.set_defaults(run=plan.plan)
