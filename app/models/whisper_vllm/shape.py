"""The shape of a Whisper and the size of its weights, from its files or from arithmetic alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

from app.errors import BadSource
from app.models.base import Device
from app.tensor_files import TensorHeader, read_headers

BLOCK = 128  # tokens in a KV block; what a sequence holds is rounded up to it
ENCODER_TOKENS_A_WINDOW = 1500
_DECODER_TOKENS = 448
_HALF = 2  # bytes of a 16-bit number
_HEAD = 64  # numbers of a head's key or value, in every Whisper
_SCALE = 4  # bytes


@dataclass(frozen=True)
class ModelShape:
    """A model's shape, as far as it decides memory. `weight_bytes` is what the weights take once
    loaded."""

    decoder_layers: int
    d_model: int
    encoder_positions: int
    decoder_positions: int
    weight_bytes: int
    number_bytes: int = _HALF  # of a key or a value

    @classmethod
    def of(cls, folder: Path) -> "ModelShape":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return cls(
            decoder_layers=config["decoder_layers"],
            d_model=config["d_model"],
            encoder_positions=config.get("max_source_positions", ENCODER_TOKENS_A_WINDOW),
            decoder_positions=config.get("max_target_positions", _DECODER_TOKENS),
            weight_bytes=loaded_bytes(folder),
        )

    @property
    def kv_bytes_a_token(self) -> int:
        """Keys and values of every decoder layer."""
        return self.decoder_layers * 2 * self.d_model * self.number_bytes

    def window_bytes(self, device: Device) -> int:
        """Return what a window keeps: keys and values of self-attention over the longest text, and
        of cross-attention over the encoder's output."""
        text = _rounded(self.decoder_positions) * self.kv_bytes_a_token
        return text + self.cross_bytes(device)

    def cross_bytes(self, device: Device) -> int:
        """Return what a window's cross-attention keeps: vLLM's blocks, or on a processor eight bits
        a number and a scale for each head's of a position (attention_kernels.py)."""
        positions = _rounded(self.encoder_positions)
        if device == "cuda":
            return positions * self.kv_bytes_a_token
        numbers = positions * self.decoder_layers * 2 * self.d_model
        return numbers + numbers // _HEAD * _SCALE

    def in_float32(self, parameters: int) -> "ModelShape":
        """The shape with all weights, keys and values in 32 bits."""
        weight_bytes = max(self.weight_bytes, 2 * _HALF * parameters)
        return replace(self, weight_bytes=weight_bytes, number_bytes=2 * _HALF)


@dataclass(frozen=True)
class Architecture:
    """A model's architecture, as far as it decides how many weights there are."""

    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_ffn: int
    decoder_ffn: int
    mels: int
    vocabulary: int
    encoder_positions: int = ENCODER_TOKENS_A_WINDOW
    decoder_positions: int = _DECODER_TOKENS

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read an architecture from a config.json. Raises BadSource where an entry is missing."""
        try:
            return cls(
                d_model=config["d_model"],
                encoder_layers=config["encoder_layers"],
                decoder_layers=config["decoder_layers"],
                encoder_ffn=config["encoder_ffn_dim"],
                decoder_ffn=config["decoder_ffn_dim"],
                mels=config["num_mel_bins"],
                vocabulary=config["vocab_size"],
                encoder_positions=config.get("max_source_positions", ENCODER_TOKENS_A_WINDOW),
                decoder_positions=config.get("max_target_positions", _DECODER_TOKENS),
            )
        except KeyError as error:
            raise BadSource(f"The config.json has no {error}.", "Take the model's own.") from error

    def geometry(self, scheme: str, group_size: int = 128) -> ModelShape:
        """Return the shape with weights as `scheme` has them, see `weight_bytes`."""
        return ModelShape(
            self.decoder_layers,
            self.d_model,
            self.encoder_positions,
            self.decoder_positions,
            self.weight_bytes(scheme, group_size),
        )

    @property
    def parameters(self) -> int:
        """How many weights there are."""
        return self._others + self._linear_weights

    def weight_bytes(self, scheme: str, group_size: int = 128) -> int:
        """Return the bytes of all tensors: the Linears by `scheme` (bf16 or fp16, W4A16, W8A16,
        W8A8), and what no scheme touches (embeddings, convolutions, norms, biases) in 16 bits."""
        others = _HALF * self._others
        if scheme in ("bf16", "fp16"):
            return others + _HALF * self._linear_weights
        weights = self._linear_weights * int(scheme[1]) // 8
        scales = self._rows if scheme == "W8A8" else self._linear_weights // group_size
        # The quantizer writes the biases that Whisper's key projections lack, as zeros.
        zeros = (self.encoder_layers + 2 * self.decoder_layers) * self.d_model
        return others + weights + _HALF * (scales + zeros)

    @property
    def _linear_weights(self) -> int:
        d = self.d_model
        encoder = self.encoder_layers * (4 * d * d + 2 * d * self.encoder_ffn)
        return encoder + self.decoder_layers * (8 * d * d + 2 * d * self.decoder_ffn)

    @property
    def _rows(self) -> int:
        """Outputs of all Linears together."""
        encoder = self.encoder_layers * ((4 + 1) * self.d_model + self.encoder_ffn)
        return encoder + self.decoder_layers * ((8 + 1) * self.d_model + self.decoder_ffn)

    @property
    def _others(self) -> int:
        """Numbers outside the Linears' matrices. The output projection is the embedding."""
        d = self.d_model
        # Biases of q, v, out and the two of the MLP, and a weight and a bias of each norm.
        encoder = self.encoder_layers * ((3 + 1 + 2 * 2) * d + self.encoder_ffn)
        decoder = self.decoder_layers * ((2 * 3 + 1 + 3 * 2) * d + self.decoder_ffn)
        convolutions = 3 * d * (self.mels + d) + 2 * d
        positions = (self.encoder_positions + self.decoder_positions) * d
        return encoder + decoder + convolutions + positions + self.vocabulary * d + 2 * 2 * d


_LARGE_V2 = Architecture(1280, 32, 32, 5120, 5120, 80, 51865)
# As their config.json has them.
SHAPES: Mapping[str, Architecture] = {
    "openai/whisper-tiny": Architecture(384, 4, 4, 1536, 1536, 80, 51865),
    "openai/whisper-base": Architecture(512, 6, 6, 2048, 2048, 80, 51865),
    "openai/whisper-small": Architecture(768, 12, 12, 3072, 3072, 80, 51865),
    "openai/whisper-medium": Architecture(1024, 24, 24, 4096, 4096, 80, 51865),
    "openai/whisper-large-v2": _LARGE_V2,
    "openai/whisper-large-v3": Architecture(1280, 32, 32, 5120, 5120, 128, 51866),
    "openai/whisper-large-v3-turbo": Architecture(1280, 32, 4, 5120, 5120, 128, 51866),
    "MediaTek-Research/Breeze-ASR-25": _LARGE_V2,
    "MediaTek-Research/Breeze-ASR-26": _LARGE_V2,
}


def loaded_bytes(folder: Path) -> int:
    """Return what the weights take once loaded: 32-bit weights, as OpenAI's smaller checkpoints
    have them, are loaded as 16-bit. Raises BadSource."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:  # torch's own format does not say without being unpickled
        return sum(p.stat().st_size for p in folder.glob("pytorch_model*.bin"))
    return sum(map(_loaded_bytes, files))


def _loaded_bytes(file: Path) -> int:
    try:
        return sum(map(_tensor_bytes, read_headers(file).values()))
    except ValueError as error:
        raise BadSource(f"{error}.", "Download or make it again.") from error


def _tensor_bytes(tensor: TensorHeader) -> int:
    wide = tensor.dtype in ("F32", "F64")
    return _HALF * prod(tensor.shape) if wide else tensor.bytes


def _rounded(tokens: int) -> int:
    return ceil(tokens / BLOCK) * BLOCK
