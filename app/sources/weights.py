"""Weights of a Whisper under the names of Hugging Face's layout, wherever they come from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import BadSource

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]


@dataclass(frozen=True)
class Weights:
    """A Whisper's tensors by name, most often views of a file that is mapped, and how many heads
    the attentions of its encoder and decoder have, which no tensor tells."""

    tensors: Tensors
    encoder_heads: int
    decoder_heads: int

    @property
    def vocabulary(self) -> int:
        """How many tokens there are. Raises BadSource."""
        try:
            return len(self.tensors["model.decoder.embed_tokens.weight"])
        except KeyError as error:
            raise BadSource(f"The weights lack {error}.", "Get them again.") from error
