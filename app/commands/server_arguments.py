"""The arguments of the commands that ask a server: transcribe and evaluate."""

import argparse
import os
from pathlib import Path

from app import client
from app.commands import remote
from app.commands.argument_types import count
from app.commands.batch import SUFFIX_OF


def server() -> argparse.ArgumentParser:
    """Return the arguments of every command that asks a server."""
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--url",
        default=client.own_url(),
        help="the server's address; else this machine's, at MARLINSCRIBE_PORT or 8000",
    )
    server.add_argument(
        "--key",
        default=os.environ.get("MARLINSCRIBE_API_KEYS", "").split(",")[0].strip(),
        help="the server's key; else the first of MARLINSCRIBE_API_KEYS",
    )
    return server


def add_transcribe(parser: argparse.ArgumentParser) -> None:
    """Add what `transcribe` is asked."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="recordings, and folders: all recordings in them and in their folders",
    )
    parser.add_argument("--model", help="a model's name; the server's default if absent")
    parser.add_argument("--language", help="ISO code; detected if absent")
    parser.add_argument("--prompt", help="text that came before: it sways the spelling")
    parser.add_argument(
        "--format",
        default=("text",),
        type=_formats,
        dest="formats",
        metavar="NAMES",
        help="text (or txt), json, verbose_json, srt, vtt; several with commas, which are written "
        "to files, where json is verbose_json (default: text)",
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="write transcripts beside their recordings instead of printing them, as is done for "
        "folders and for several formats",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write them into this folder, which gets the folders of what is transcribed",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="go on with what comes into the folders, until Ctrl-C",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="transcribe also what has transcripts that are newer than itself",
    )
    parser.add_argument(
        "--at-once",
        type=count,
        default=2,
        metavar="N",
        help="recordings at once that are written to files (default: %(default)s)",
    )
    parser.set_defaults(run=remote.transcribe)


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not formats or not set(formats) <= SUFFIX_OF.keys():
        raise ValueError(text)
    return formats


_formats.__name__ = f"list of formats (there are {', '.join(SUFFIX_OF)})"


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add what `evaluate` is asked."""
    parser.add_argument(
        "recordings",
        help="a manifest (jsonl, csv), a folder, or a hub's set: librispeech, librispeech:other, "
        "fleurs:en_us, owner/name:config:split",
    )
    parser.add_argument("--samples", type=count, metavar="N", help="the first N recordings alone")
    parser.add_argument(
        "--language", default="en", help="language of recordings that name none (default: en)"
    )
    parser.add_argument("--detect", action="store_true", help="leave the language to the server")
    parser.add_argument("--at-once", type=count, default=4, help="requests at once (default: 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every answer to this file")
    parser.set_defaults(run=remote.evaluate)
