"""A source: the checkpoint that is served as it is, or quantized."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from app.sources.identity import kept_identity, known_identity

ADVICE = (
    "Set MARLINSCRIBE_MODEL (make serve MODEL=…) to a Hugging Face id such as "
    "openai/whisper-small, to a local folder in Hugging Face's layout or faster-whisper's, or to "
    "a .pt file of OpenAI's."
)


@dataclass(frozen=True)
class Source:
    """A Whisper checkpoint on this disk, in Hugging Face's layout.

    name: what /v1/models calls it: the hub id, or the folder's name.
    revision: the hub's commit, or "" for what lies here.
    cache: the service's cache, which keeps what was found out about the files.
    """

    name: str
    folder: Path
    revision: str
    cache: Path | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, read once: `resolve` has done so. Raises OSError, ValueError."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text("utf-8"))
        return config

    @property
    def quantized(self) -> bool:
        return "quantization_config" in self.config

    def identity(self) -> dict[str, str]:
        """Return what identifies the checkpoint in a fingerprint. Blocking: where its files are
        new, all of them are read. Raises BadSource."""
        return kept_identity(self.folder, self.cache)

    def known_identity(self) -> dict[str, str] | None:
        """Return the same if the cache has it."""
        return known_identity(self.folder, self.cache)
