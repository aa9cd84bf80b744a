"""Model families, behind one protocol (base.py). A checkpoint's config.json says whose it is."""

from collections.abc import Mapping
from typing import Any

from app.errors import BadSource
from app.models.base import Family


def family_of(config: Mapping[str, Any]) -> Family:
    """The family that serves a checkpoint with this config.json. Raises BadSource."""
    kind = config.get("model_type", "something unnamed")
    if kind != "whisper":
        raise BadSource(f"A model of the type {kind} is not served here.", "Take a Whisper's.")
    from app.models.whisper_vllm.family import WhisperFamily  # families load on their own

    return WhisperFamily()
