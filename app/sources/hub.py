"""Models of the Hugging Face hub, downloaded or as its cache has them."""

import errno
import logging
import re
from pathlib import Path

from app.errors import BadSource, DiskFull
from app.sources.source import ADVICE

log = logging.getLogger(__name__)

_SECONDS = 10  # for an answer; the hub's library asks twice
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.txt", "model.safetensors", "model-*.safetensors"]
_TORCH_WEIGHTS = ["pytorch_model*.bin"]  # for repositories without safetensors


class Unreachable(BadSource):
    """The hub gives no answer, and its cache has no such model."""


def is_hub_id(model: str) -> bool:
    return _ID.fullmatch(model) is not None


def snapshot(model: str) -> Path:
    """Return a model's files, as the hub has them now or, where the hub cannot be asked, as its
    cache does. Raises Unreachable where neither has them, BadSource, DiskFull."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    unreachable = _why_unreachable(model)
    try:
        folder = _fetch(model, only_cached=unreachable is not None)
    except GatedRepoError as error:
        raise BadSource(
            f"{model} is gated.", "Accept its terms on the hub and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise BadSource(f"The hub has no {model}.", ADVICE) from error
    except Exception as error:  # the hub's, the network's and the disk's errors share no root
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{model} does not fit on the disk: {error}.",
                "Free space, or set HF_HOME to a larger disk.",
            ) from error
        if unreachable:
            raise Unreachable(
                f"{model} is not in the cache, or not whole, and the hub cannot be asked "
                f"({unreachable}).",
                "Check the network, download it where there is one and bring the cache (HF_HOME) "
                "here, or set MARLINSCRIBE_MODEL to a local folder.",
            ) from error
        raise BadSource(
            f"{model} cannot be downloaded: {error}",
            "Check the network, or set MARLINSCRIBE_MODEL to a local folder.",
        ) from error
    if unreachable:
        log.warning(
            "%s is served as the cache has it, revision %s: the hub cannot be asked whether there "
            "is a newer one (%s)",
            model,
            folder.name[:12],
            unreachable,
        )
    return folder


def cached(model: str) -> Path | None:
    """Return a model's files as the hub's cache has them, perhaps not all, without asking it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _fetch(model: str, *, only_cached: bool) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str]) -> Path:
        found = snapshot_download(model, allow_patterns=patterns, local_files_only=only_cached)
        return Path(found)

    folder = fetch(_WANTED)
    return folder if list(folder.glob("*.safetensors")) else fetch(_WANTED + _TORCH_WEIGHTS)


def _why_unreachable(model: str) -> str | None:
    """Return why the hub gives no answer, or None where it gives one, if only that it has no such
    model.

    The hub is asked before the download, which waits for an answer without end: behind a proxy that
    accepts and is silent, a start would hang.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        HfApi().model_info(model, timeout=_SECONDS)
    except (GatedRepoError, RepositoryNotFoundError):
        return None
    except Exception as error:  # the hub's and the network's errors share no root
        return f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
    return None
