"""marlinscribe serve | quantize | plan | transcribe FILE… | evaluate RECORDINGS"""

import argparse
import os
from pathlib import Path

from app import __version__
from app.commands import plan, quantize, remote, serve


def main(arguments: list[str] | None = None) -> int:
    """Run one command, the process's own arguments where none are given; the status to end with."""
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
    quantize_parser.add_argument("--calibration", help="recordings to calibrate on")
    quantize_parser.add_argument(
        "--method", choices=["gptq", "awq", "autoround", "rtn"], dest="quantization"
    )
    quantize_parser.add_argument("--scheme", choices=["W4A16", "W8A16", "W8A8", "W3A16", "W2A16"])
    quantize_parser.add_argument("--group-size", choices=["32", "64", "128", "channel"])
    quantize_parser.add_argument(
        "--emulate",
        action="store_const",
        const=True,
        help="dequantize the weights, to prove what nothing here serves",
    )
    quantize_parser.add_argument(
        "--prove", type=Path, metavar="RECORDINGS", help="recordings with known words to judge by"
    )
    quantize_parser.add_argument(
        "--min-recovery", type=_share, help="share of the source's accuracy to keep (default: 0.9)"
    )
    quantize_parser.add_argument(
        "--order", type=Path, metavar="FILE", help="an order in JSON, as POST /quantize takes it"
    )
    quantize_parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole proof")
    quantize_parser.set_defaults(run=quantize.quantize)

    _add_plan(commands.add_parser("plan", help="where a device's memory goes, and what follows"))

    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--url", default="http://127.0.0.1:8000", help="of the server")
    server.add_argument(
        "--key",
        default=os.environ.get("MARLINSCRIBE_API_KEYS", "").split(",")[0].strip(),
        help="of the server; else the first of MARLINSCRIBE_API_KEYS",
    )
    transcribe_parser = commands.add_parser(
        "transcribe", parents=[server], help="send recordings to a server"
    )
    transcribe_parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    transcribe_parser.add_argument("--language", help="ISO code; detected if absent")
    transcribe_parser.add_argument("--prompt", help="text that came before: sways the spelling")
    transcribe_parser.add_argument(
        "--format",
        default="text",
        choices=["text", "json", "verbose_json", "srt", "vtt"],
        dest="response_format",
    )
    transcribe_parser.set_defaults(run=remote.transcribe)

    evaluate_parser = commands.add_parser(
        "evaluate", parents=[server], help="a server's error rates on recordings with known words"
    )
    evaluate_parser.add_argument(
        "recordings", type=Path, help="a manifest (jsonl, csv) or a folder, as for calibration"
    )
    evaluate_parser.add_argument(
        "--language", default="en", help="of recordings that name none (default: en)"
    )
    evaluate_parser.add_argument(
        "--detect", action="store_true", help="leave the language to the server"
    )
    evaluate_parser.add_argument("--at-once", type=int, default=4, help="requests (default: 4)")
    evaluate_parser.add_argument("--json", type=Path, metavar="FILE", help="write every answer too")
    evaluate_parser.set_defaults(run=remote.evaluate)

    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


def _add_plan(parser: argparse.ArgumentParser) -> None:
    device = parser.add_mutually_exclusive_group()
    for name, what in (("vram", "an NVIDIA card"), ("ram", "a machine without one")):
        device.add_argument(
            f"--{name}", type=_gigabytes, metavar="GB", help=f"{what} of this size; else this one"
        )
    parser.add_argument(
        "--model",
        default=plan.DEFAULT_MODEL,
        help="a folder, or a known model's id; nothing is downloaded (default: %(default)s)",
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


def _gigabytes(text: str) -> float:
    size = float(text)
    if not 0 < size < 10_000:  # nor nan
        raise ValueError(text)
    return size


_gigabytes.__name__ = "number of GB"


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


_share.__name__ = "share (0 to 1)"  # as argparse names it
