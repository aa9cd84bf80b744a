"""Reading of OpenAI's own `.pt` files (openai/whisper `__init__.py::load_model`)."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import BadSource
from app.sources.weights import Array, Weights

_ADVICE = "Point MARLINSCRIBE_MODEL at one of OpenAI's Whisper files, such as large-v2.pt."
# Made anew by whoever loads it.
_LEFT_OUT = {"decoder.mask", "alignment_heads"}
# In order: a name is replaced part by part.
_PARTS = {
    r"\.blocks\.": ".layers.",
    r"\.mlp\.0\.": ".fc1.",
    r"\.mlp\.2\.": ".fc2.",
    r"\.mlp_ln\.": ".final_layer_norm.",
    r"\.cross_attn_ln\.": ".encoder_attn_layer_norm.",
    r"\.attn_ln\.": ".self_attn_layer_norm.",
    r"\.cross_attn\.": ".encoder_attn.",
    r"\.attn\.": ".self_attn.",
    r"\.query\.": ".q_proj.",
    r"\.key\.": ".k_proj.",
    r"\.value\.": ".v_proj.",
    r"\.out\.": ".out_proj.",
    r"\.ln(_post)?\.": ".layer_norm.",
    r"\.positional_embedding$": ".embed_positions.weight",
    r"\.token_embedding\.": ".embed_tokens.",
}


def is_openai(path: Path) -> bool:
    """Return whether a path looks like a file of OpenAI's."""
    return path.suffix == ".pt" and path.is_file()


def read(path: Path) -> Weights:
    """Read a `.pt`, by torch's unpickler that makes nothing but tensors. The file is mapped and
    must outlive them. Raises BadSource."""
    content = _unpickled(path)
    try:
        dims, state = content["dims"], content["model_state_dict"]
        heads = int(dims["n_audio_head"]), int(dims["n_text_head"])
        tensors = {_renamed(name): _array(one) for name, one in state.items()
                   if name not in _LEFT_OUT}  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSource(f"{path} is no Whisper of OpenAI's: it has no {error}.", _ADVICE) from error
    return Weights(tensors, *heads)


def _unpickled(path: Path) -> Mapping[str, Any]:
    import torch  # seconds

    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadSource(f"{path} is no file of OpenAI's Whisper: {why}", _ADVICE) from error
    if not isinstance(content, Mapping):
        raise BadSource(f"{path} holds no Whisper but a {type(content).__name__}.", _ADVICE)
    return content


def _renamed(name: str) -> str:
    for part, ours in _PARTS.items():
        name = re.sub(part, ours, name)
    return f"model.{name}"


def _array(tensor: Any) -> Array:
    """As numpy has it, which knows no bfloat16: its numbers are float32's."""
    import torch

    plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: Array = plain.contiguous().numpy()
    return array
