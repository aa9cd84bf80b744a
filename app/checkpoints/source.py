"""Where a checkpoint comes from: a local folder or the hub, checked before work begins."""

import errno
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import BadSource, DiskFull

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

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return config

    @property
    def quantized(self) -> bool:
        return "quantization_config" in self.config

    def identity(self) -> dict[str, str]:
        """What it is, for a fingerprint: the hub's commit, or a hash of every file."""
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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(model, allow_patterns=_WANTED))
        if not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(model, allow_patterns=_WANTED + _TORCH_WEIGHTS))
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
        raise BadSource(
            f"{model} cannot be downloaded and is not in the cache: {error}",
            "Check the network, or set MARLINSCRIBE_MODEL to a local folder.",
        ) from error
    return folder


def _check(source: Source) -> None:
    """Refuse what could not be served in the end, before hours are spent on it."""
    try:
        config = source.config
    except (OSError, ValueError) as error:
        raise BadSource(f"{source.folder} has no readable config.json.", _ADVICE) from error
    if config.get("model_type") != "whisper":
        kind = config.get("model_type", "something unnamed")
        raise BadSource(f"{source.name} is not a Whisper but {kind}.", _ADVICE)
    if not _weights(source.folder):
        raise BadSource(f"{source.folder} holds no weights.", _ADVICE)
    if source.quantized:
        _check_servable(source.name, config)


def _weights(folder: Path) -> list[Path]:
    return [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]


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
