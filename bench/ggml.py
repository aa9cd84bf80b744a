"""Write a Whisper in Hugging Face's layout as whisper.cpp reads it.

    python -m bench.ggml FOLDER FILE [--type f16|q8_0]

The format is that of whisper.cpp's models/convert-h5-to-ggml.py: a header of sizes, the filters of
the mel spectrogram, the vocabulary's bytes, the tensors under OpenAI's names. q8_0 is its
quantizer's: of matrices, 32 numbers in a row share a scale, half of float16's 16 bits each.
"""

import argparse
import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.peer_whisper import renamed

_MAGIC = 0x67676D6C
_F32, _F16, _Q8_0 = 0, 1, 8  # ggml's types of a tensor
FTYPES = {"f16": 1, "q8_0": 2007}  # of a file; 2000 is the version of the quantization's layout
_BLOCK = 32
_IN_32_BITS = ("positional_embedding", "conv1.bias", "conv2.bias")
_BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]  # which stand for themselves


def main(argv: Sequence[str] | None = None) -> None:
    wanted = argparse.ArgumentParser(
        prog="python -m bench.ggml",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("file", type=Path)
    wanted.add_argument("--type", choices=FTYPES, default="f16", help="default: %(default)s")
    asked = wanted.parse_args(argv)
    with asked.file.open("wb") as out:
        convert(asked.folder, out, asked.type)


def convert(folder: Path, out: IO[bytes], kind: str) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    out.write(header(config, kind))
    out.write(filters(config["num_mel_bins"]))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    out.write(vocabulary(tokenizer["model"]["vocab"]))
    for name, tensor in tensors(folder):
        out.write(packed(name, tensor, kind))


def header(config: dict[str, Any], kind: str) -> bytes:
    sizes = [
        config["vocab_size"], config["max_source_positions"], config["d_model"],
        config["encoder_attention_heads"], config["encoder_layers"],
        config["max_target_positions"], config["d_model"], config["decoder_attention_heads"],
        config["decoder_layers"], config["num_mel_bins"], FTYPES[kind],
    ]  # fmt: skip
    return struct.pack("<12i", _MAGIC, *sizes)


def filters(mels: int) -> bytes:
    """Return the filters that the spectrogram is made by, as openai/whisper has them."""
    from librosa.filters import mel

    rows = mel(sr=16_000, n_fft=400, n_mels=mels).astype(np.float32)
    return struct.pack("<2i", *rows.shape) + rows.tobytes()


def vocabulary(vocab: dict[str, int]) -> bytes:
    """Return the tokens' bytes in the order of their ids; special ones whisper.cpp knows."""
    in_order = sorted(vocab, key=vocab.__getitem__)
    assert [vocab[one] for one in in_order] == list(range(len(in_order))), "ids have gaps"
    of_letter = bytes_of_letters()
    words = [bytes(of_letter[letter] for letter in one) for one in in_order]
    parts = [struct.pack("<i", len(one)) + one for one in words]
    return struct.pack("<i", len(parts)) + b"".join(parts)


def bytes_of_letters() -> dict[str, int]:
    """Return which byte each letter of a byte-level vocabulary stands for: what cannot be printed
    has the letters from 256 on, in order."""
    others = [one for one in range(256) if one not in _BYTES]
    shown = {chr(one): one for one in _BYTES}
    return shown | {chr(256 + number): one for number, one in enumerate(others)}


def tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield each tensor under OpenAI's name. The last layer is the first one's."""
    from safetensors.numpy import load_file

    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            if name != "proj_out.weight":
                yield renamed(name), tensor.astype(np.float32)


def packed(name: str, tensor: Any, kind: str) -> bytes:
    """Return a tensor with its header: shape, from the fastest axis on, name and type."""
    if name.endswith(("conv1.bias", "conv2.bias")):
        tensor = tensor.reshape(-1, 1)
    small = tensor.ndim < 2 or name.endswith(_IN_32_BITS)
    if small:
        ttype, content = _F32, tensor.tobytes()
    elif kind == "q8_0" and tensor.ndim == 2:
        ttype, content = _Q8_0, in_8_bits(tensor)
    else:
        ttype, content = _F16, tensor.astype(np.float16).tobytes()
    encoded = name.encode()
    head = struct.pack("<3i", tensor.ndim, len(encoded), ttype)
    return head + struct.pack(f"<{tensor.ndim}i", *tensor.shape[::-1]) + encoded + content


def in_8_bits(tensor: Any) -> bytes:
    """Return a matrix's blocks: a scale in float16, then the numbers in 8 bits."""
    blocks = tensor.reshape(-1, _BLOCK)
    scales = np.abs(blocks).max(1, keepdims=True) / 127
    whole = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales > 0)
    made = np.empty(len(blocks), [("scale", "<f2"), ("numbers", "i1", _BLOCK)])
    made["scale"], made["numbers"] = scales[:, 0], np.rint(whole)
    return made.tobytes()


if __name__ == "__main__":
    main()
