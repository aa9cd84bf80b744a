"""What benchmarks can be told on their command lines: how much to do, in words that all share."""

import argparse
from typing import Any

_MEANINGS = {
    "assignments": "random assignments of schemes that are measured",
    "clips": "recordings that are taken",
    "hour": "seconds of an hour",
    "layers": "layers of each stack",
    "recipes": "recipes that are measured, of all",
    "rounds": "times that each thing is measured",
    "seconds": "seconds under the longest load",
    "windows": "recordings that losses are measured on",
}


def parser(module: str, description: str | None, **sizes: int) -> argparse.ArgumentParser:
    """One for `python -m MODULE`; each of `sizes` is an option, and its value the default."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, default in sizes.items():
        meaning = f"{_MEANINGS[name]} (default: {default})"
        made.add_argument(
            f"--{name}", type=_at_least_one, default=default, help=meaning, metavar="N"
        )
    return made


def with_model(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options that say which model a server serves."""
    made.add_argument("--model", default="openai/whisper-base", help="default: %(default)s")
    made.add_argument("--quantization", default="auto", help="default: %(default)s")
    made.add_argument("--cache", help="folder of checkpoints (default: the service's)")
    return made


def model_settings(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a server that these options ask for."""
    return {"model": asked.model, "quantization": asked.quantization, "cache_dir": asked.cache}


def _at_least_one(text: str) -> int:
    """Raises ValueError where it is no such number, as argparse wants it."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number
