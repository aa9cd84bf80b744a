"""The arguments of `marlinscribe bench`, named as other load generators name theirs."""

import argparse
from pathlib import Path

from app.commands import bench
from app.commands.argument_types import count, positive, several


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add what `bench` is asked, beside the server."""
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="RECORDINGS",
        help="recordings, and folders of them, sent in turn; else those of --reference",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="MANIFEST",
        help="recordings with their words (jsonl, csv, or a folder): error rates are told too",
    )
    load = parser.add_mutually_exclusive_group()
    load.add_argument(
        "--concurrency",
        type=several(count, "list of numbers (such as 1,4,16)"),
        default=(1, 4, 16),
        metavar="N,N",
        help="clients at once, each of which asks again when it is answered (default: 1,4,16)",
    )
    load.add_argument(
        "--rate",
        type=several(positive, "list of numbers above 0 (such as 0.5,2)"),
        metavar="R,R",
        help="requests a second that arrive whatever became of those before (a Poisson process)",
    )
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--requests", type=count, metavar="N", help="so many requests at each load")
    bound.add_argument(
        "--seconds",
        type=positive,
        default=30.0,
        metavar="S",
        help="new requests for so long at each load (default: 30)",
    )
    parser.add_argument(
        "--warmup",
        type=count,
        metavar="N",
        help="requests before each load that do not count (default: one for each client)",
    )
    parser.add_argument("--model", help="a model's name; the server's default if absent")
    parser.add_argument("--language", help="ISO code; detected if absent")
    parser.add_argument(
        "--no-stream",
        action="store_false",
        dest="stream",
        help="ask for whole answers: there is no time to first text (TTFT) then",
    )
    parser.add_argument("--json", action="store_true", help="for programs, on standard output")
    parser.set_defaults(run=bench.bench)
