"""A decoder's step on a processor, with nothing between its operations.

A step gives each window one token: a hundred operations, most of them of microseconds, each of
which waits for the one before. Modules' calls, and vLLM's attention, which looks itself up by name
behind PyTorch's dispatcher, take a tenth of a lone window's step beside them. Here the same kernels
are called in the same order (vllm/model_executor/models/whisper.py, WhisperDecoder, and
vllm/model_executor/layers/attention/attention.py, Attention).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import torch
from vllm.forward_context import get_forward_context

_Part: TypeAlias = Callable[[torch.Tensor, Any], torch.Tensor]  # of hidden states and the step


def take_direct_steps(decoder: Any) -> None:
    """Have a loaded WhisperDecoder take steps directly. What encodes windows too, or only warms up,
    is left to vLLM's own way."""
    parts = [part for layer in decoder.layers for part in _parts(layer)]
    in_full = decoder.forward

    def forward(
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None,
    ) -> torch.Tensor:
        step = get_forward_context()
        if encoder_hidden_states is not None or not isinstance(step.attn_metadata, dict):
            return in_full(input_ids, positions, encoder_hidden_states)
        hidden = decoder.embed_tokens(input_ids) + decoder.embed_positions(positions)
        for part in parts:
            hidden = hidden + part(hidden, step)
        return decoder.layer_norm(hidden)

    decoder.forward = forward


def _parts(layer: Any) -> Iterator[_Part]:
    """Yield what a layer adds to the hidden states, one after another."""
    yield _self_attention(layer.self_attn_layer_norm, layer.self_attn)
    yield _cross_attention(layer.encoder_attn_layer_norm, layer.encoder_attn)
    yield _perceptron(layer.final_layer_norm, layer.mlp)


def _self_attention(layer_norm: Any, module: Any) -> _Part:
    normed, attention = layer_norm.forward, module.attn
    projected, out = _linear(module.qkv_proj), _linear(module.out_proj)
    heads = (3, attention.num_heads, attention.head_size)

    def attended(hidden: torch.Tensor, step: Any) -> torch.Tensor:
        query, key, value = projected(normed(hidden)).unflatten(-1, heads).unbind(1)
        slots = step.slot_mapping[attention.layer_name]
        attention.impl.do_kv_cache_update(attention, key, value, attention.kv_cache, slots)
        return out(_attend(attention, query, key, value, step))

    return attended


def _cross_attention(layer_norm: Any, module: Any) -> _Part:
    normed, attention = layer_norm.forward, module.attn
    projected, out = _linear(module.q_proj), _linear(module.out_proj)
    heads = (attention.num_heads, attention.head_size)

    def attended(hidden: torch.Tensor, step: Any) -> torch.Tensor:
        query = projected(normed(hidden)).unflatten(-1, heads)
        return out(_attend(attention, query, None, None, step))

    return attended


def _perceptron(layer_norm: Any, module: Any) -> _Part:
    normed, activation = layer_norm.forward, module.activation_fn.forward
    widened, narrowed = _linear(module.fc1), _linear(module.fc2)
    return lambda hidden, _: narrowed(activation(widened(normed(hidden))))


def _linear(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a linear layer's own product, with its bias; on one device nothing is gathered."""
    return partial(layer.quant_method.apply, layer, bias=layer.bias)


def _attend(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor | None,
    value: torch.Tensor | None,
    step: Any,
) -> torch.Tensor:
    """Return what the windows attend to, shape (windows, width). query, key, value: shape (windows,
    heads, head size)."""
    # Looked up at each step: the recorder of words stands in for `forward` (_Tap).
    attended = torch.empty(query.shape, dtype=query.dtype)
    metadata = step.attn_metadata.get(attention.layer_name)  # CrossAttention has none
    attention.impl.forward(
        attention, query, key, value, attention.kv_cache, metadata, output=attended
    )
    return attended.flatten(1)
