"""What `marlinscribe tune` can be told."""

import argparse
from pathlib import Path
from typing import get_args

from app.commands import tune
from app.commands.argument_types import positive
from app.tuning.cost import Scenario


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "model", nargs="?", help="Hugging Face id or folder; else MARLINSCRIBE_MODEL's"
    )
    parser.add_argument(
        "--scenario",
        required=True,
        choices=get_args(Scenario),
        help="what is to be least: the time of one window alone, that of each of 16 at once, or "
        "the bytes of the weights",
    )
    parser.add_argument(
        "--vram", type=positive, metavar="GB", help="the weights fit a card with so much memory"
    )
    parser.add_argument(
        "--most-mb", type=positive, metavar="MB", help="the most that the weights may take"
    )
    parser.add_argument(
        "--most-ms", type=positive, metavar="MS", help="the most that a clip may take"
    )
    parser.add_argument(
        "--most-loss",
        type=positive,
        metavar="NATS",
        help="the most loss expected, in nats a token; else that of the default in four bits",
    )
    parser.add_argument(
        "--clip-seconds",
        type=positive,
        default=10.0,
        metavar="SECONDS",
        help="speech in the clip that times are of (default: %(default)g)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where the order for `marlinscribe quantize --order` goes; else standard output",
    )
    parser.add_argument("--make", action="store_true", help="make what was chosen, and time it")
    parser.add_argument(
        "--prove",
        metavar="RECORDINGS",
        help="with --make: recordings with known words to prove it by",
    )
    parser.set_defaults(run=tune.tune)
