"""Sources of checkpoints: a local folder or the hub, checked before work begins."""

import errno
import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from app.errors import BadSource, DiskFull

log = logging.getLogger(__name__)

_HUB_SECONDS = 10  # for an answer; the hub's library asks twice
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.txt", "model.safetensors", "model-*.safetensors"]
_TORCH_WEIGHTS = ["pytorch_model*.bin"]  # for repositories without safetensors
_ADVICE = (
    "Set MARLINSCRIBE_MODEL (make serve MODEL=…) to a Hugging Face id such as "
    "openai/whisper-small, or to a local folder with config.json and weights."
)


@dataclass(frozen=True)
class Source:
    """A Whisper checkpoint on this disk.

    name: what /v1/models calls it: the hub id, or the folder's name.
    revision: the hub's commit, or "" for a folder.
    """

    name: str
    folder: Path
    revision: str

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, read once: `resolve` has done so. Raises OSError, ValueError."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return config

    @property
    def quantized(self) -> bool:
        return "quantization_config" in self.config

    def identity(self) -> dict[str, str]:
        """Return what identifies the source in a fingerprint: the hub's commit, or a hash of every
        file."""
        if self.revision:
            return {"id": self.name, "revision": self.revision}
        return {p.name: file_sha256(p) for p in sorted(self.folder.iterdir()) if p.is_file()}


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hub_id(model: str) -> bool:
    return _HUB_ID.fullmatch(model) is not None


def resolve(model: str, on_download: Callable[[str], None] = lambda _: None) -> Source:
    """Find `model`, downloading it where it is a hub id. Blocking. Raises BadSource."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        source = Source(folder.resolve().name, folder.resolve(), "")
    elif is_hub_id(model) and not folder.exists():
        on_download(f"downloading {model}")
        snapshot = _snapshot(model)
        source = Source(model, snapshot, snapshot.name)
    else:
        raise BadSource(f"{model} is neither a folder here nor a Hugging Face id.", _ADVICE)
    _check(source)
    return source


def _snapshot(model: str) -> Path:
    """Return a model's files, as the hub has them now or, where the hub cannot be asked, as the
    cache does."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    unreachable = _why_unreachable(model)
    try:
        folder = _fetch(model, only_cached=unreachable is not None)
    except GatedRepoError as error:
        raise BadSource(
            f"{model} is gated.", "Accept its terms on the hub and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise BadSource(f"The hub has no {model}.", _ADVICE) from error
    except Exception as error:  # the hub's, the network's and the disk's errors share no root
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{model} does not fit on the disk: {error}.",
                "Free space, or set HF_HOME to a larger disk.",
            ) from error
        if unreachable:
            raise BadSource(
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
        HfApi().model_info(model, timeout=_HUB_SECONDS)
    except (GatedRepoError, RepositoryNotFoundError):
        return None
    except Exception as error:  # the hub's and the network's errors share no root
        return f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
    return None


def _check(source: Source) -> None:
    """Refuse what could not be served in the end, before hours are spent on it."""
    for path in source.folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():
            # To open a pipe is to wait for its writer, and a device may never end.
            raise BadSource(f"{path} is no regular file.", _ADVICE)
    try:
        config = source.config
    except (OSError, ValueError) as error:
        raise BadSource(f"{source.folder} has no readable config.json.", _ADVICE) from error
    if config.get("model_type") != "whisper":
        kind = config.get("model_type", "something unnamed")
        raise BadSource(f"{source.name} is not a Whisper but {kind}.", _ADVICE)
    if not _weights(source.folder):
        raise BadSource(f"{source.folder} holds no weights.", _ADVICE)
    if missing := _missing_shards(source.folder):
        raise BadSource(f"{source.folder} lacks {', '.join(missing)}.", "Download it again.")
    if source.quantized:
        _check_servable(source.name, config)


def _weights(folder: Path) -> list[Path]:
    return [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]


def _missing_shards(folder: Path) -> list[str]:
    """Return the weight files that an interrupted download did not bring."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
        named = {str(name) for name in index["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []
    return sorted(name for name in named if not (folder / name).exists())


def _check_servable(name: str, config: dict[str, Any]) -> None:
    """Refuse quantized checkpoints that vLLM's Whisper cannot load."""
    quantization = config["quantization_config"]
    advice = "Quantize it again with act-order static and one scheme for each fused projection."
    method = quantization.get("quant_method")
    if method != "compressed-tensors":
        raise BadSource(f"{name} is quantized with {method}, not compressed-tensors.", advice)
    for group in quantization.get("config_groups", {}).values():
        order = (group.get("weights") or {}).get("actorder")
        if order in ("group", "dynamic"):
            raise BadSource(f"{name} has act-order {order}, which vLLM does not load.", advice)
    # vLLM fuses q, k and v of self-attention, and k and v of cross-attention: one scheme each.
    layers = [f"encoder.layers.{i}" for i in range(config["encoder_layers"])]
    layers += [f"decoder.layers.{i}" for i in range(config["decoder_layers"])]
    for layer in layers:
        for attention, projections in (("self_attn", "qkv"), ("encoder_attn", "kv")):
            fused = f"model.{layer}.{attention}"
            schemes = {_scheme(quantization, f"{fused}.{p}_proj") for p in projections}
            if len(schemes) > 1:
                raise BadSource(f"{name} gives the projections of {fused} several schemes.", advice)


def _scheme(quantization: dict[str, Any], module: str) -> str | None:
    """The name of the config group that a Linear is quantized by, or None."""

    def matches(pattern: str) -> bool:
        if pattern.startswith("re:"):
            return re.match(pattern.removeprefix("re:"), module) is not None
        return pattern in (module, "Linear")

    if any(matches(pattern) for pattern in quantization.get("ignore") or ()):
        return None
    groups: dict[str, Any] = quantization.get("config_groups", {})
    return next((n for n, g in groups.items() if any(map(matches, g["targets"]))), None)
