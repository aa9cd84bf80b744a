"""Whisper's forward without the branches that llm-compressor's tracer cannot follow.

Its sequential pipeline cuts the model at each layer by tracing `forward`. The tracer wraps an `if`
that it cannot evaluate into one opaque call, and two such `if`s each hide the whole encoder: `if
encoder_outputs is None` in WhisperModel and `if not to_drop` (layer drop, a training aid) in
WhisperEncoder. The forwards here do the same computations for inference, without branches.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperModel

from app.quantizer.features import Sample


class StraightEncoder(WhisperEncoder):
    def forward(self, input_features: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        hidden_states = nn.functional.gelu(self.conv1(input_features))
        hidden_states = nn.functional.gelu(self.conv2(hidden_states)).permute(0, 2, 1)
        positions = torch.arange(self.embed_positions.num_embeddings, device=hidden_states.device)
        hidden_states = hidden_states + self.embed_positions(positions)
        for layer in self.layers:
            hidden_states = layer(hidden_states, None)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden_states))


class StraightModel(WhisperModel):
    def forward(
        self,
        input_features: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Any = None,
        decoder_position_ids: Any = None,
        use_cache: Any = None,
        **kwargs: Any,
    ) -> Any:
        encoded = self.encoder(input_features)
        decoded = self.decoder(
            input_ids=decoder_input_ids, encoder_hidden_states=encoded[0], use_cache=False
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            encoder_last_hidden_state=encoded.last_hidden_state,
        )


class EncodedModel(WhisperModel):
    """Decodes what the encoder has made already: `input_features` are its outputs, of shape
    (clips, frames, width)."""

    def forward(
        self, input_features: Any = None, decoder_input_ids: Any = None, **kwargs: Any
    ) -> Any:
        decoded = self.decoder(
            input_ids=decoder_input_ids, encoder_hidden_states=input_features, use_cache=False
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state, encoder_last_hidden_state=input_features
        )


def encoded(model: WhisperForConditionalGeneration, samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield clips with what the encoder makes of them in place of their features."""
    encoder, device = model.model.encoder, _device()
    encoder.to(device)
    for sample in samples:
        with torch.no_grad():
            made = encoder(sample["input_features"][None].to(device)).last_hidden_state[0]
        yield sample | {"input_features": made.cpu()}
    encoder.to("cpu")  # the pipeline takes layers to the card one by one


@contextmanager
def decoder_alone(model: WhisperForConditionalGeneration) -> Iterator[None]:
    """Have `model` take encoded clips for as long as the context lasts."""
    whisper = model.model
    before = type(whisper)
    whisper.__class__ = EncodedModel
    try:
        yield
    finally:
        whisper.__class__ = before


@contextmanager
def traceable(model: WhisperForConditionalGeneration, sample: Sample) -> Iterator[None]:
    """Give `model` the forwards without branches for as long as the context lasts.

    Raises AssertionError if they do not compute the very same logits for `sample`.
    """
    whisper, encoder = model.model, model.model.encoder
    classes = type(whisper), type(encoder)
    # The whole model visits the card for these two passes; the pipeline takes layers one by one.
    model.to(_device())
    expected = _logits(model, sample)
    whisper.__class__, encoder.__class__ = StraightModel, StraightEncoder
    try:
        assert torch.equal(_logits(model, sample), expected), "the straight forwards differ"
        model.to("cpu")
        yield
    finally:
        whisper.__class__, encoder.__class__ = classes


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _logits(model: Any, sample: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        inputs = {name: tensor.to(model.device) for name, tensor in sample.items()}
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits
