"""A random Whisper, as small as one can be, in the three layouts that people save."""

import json
import struct

import numpy as np

from app.sources.vocabulary import make_tokenizer

WIDTH, FFN, MELS, TOKENS, HEADS = 8, 16, 80, 51_865, 2


def tensors(seed=0):
    """By Hugging Face's names, in float16; one layer a side."""
    rng = np.random.default_rng(seed)
    shapes = {
        "model.encoder.conv1.weight": (WIDTH, MELS, 3),
        "model.encoder.conv1.bias": (WIDTH,),
        "model.encoder.conv2.weight": (WIDTH, WIDTH, 3),
        "model.encoder.conv2.bias": (WIDTH,),
        "model.encoder.embed_positions.weight": (1500, WIDTH),
        "model.decoder.embed_positions.weight": (448, WIDTH),
        "model.decoder.embed_tokens.weight": (TOKENS, WIDTH),
    }
    for side, blocks in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "encoder_attn"])):
        layer = f"model.{side}.layers.0"
        norms = [f"{layer}.{block}_layer_norm" for block in blocks]
        for norm in (*norms, f"{layer}.final_layer_norm", f"model.{side}.layer_norm"):
            shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
        for block in blocks:
            for name in ("q", "k", "v", "out"):
                shapes[f"{layer}.{block}.{name}_proj.weight"] = (WIDTH, WIDTH)
                if name != "k":
                    shapes[f"{layer}.{block}.{name}_proj.bias"] = (WIDTH,)
        shapes |= {f"{layer}.fc1.weight": (FFN, WIDTH), f"{layer}.fc1.bias": (FFN,)}
        shapes |= {f"{layer}.fc2.weight": (WIDTH, FFN), f"{layer}.fc2.bias": (WIDTH,)}
    return {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}


def save_ctranslate2(folder, whole, *, dtype=np.float16, spec="WhisperSpec", number=6):
    """As faster-whisper has it: model.bin and config.json; the folder."""
    folder.mkdir(exist_ok=True)
    variables = _fused(whole) | {
        "encoder/num_heads": np.array(HEADS, np.int16),
        "decoder/num_heads": np.array(HEADS, np.int16),
    }
    with (folder / "model.bin").open("wb") as file:
        file.write(struct.pack("<I", number) + _text(spec) + struct.pack("<II", 3, len(variables)))
        for name, array in variables.items():
            array = array.astype(dtype) if array.shape else array
            kind = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}[array.dtype.name]
            dims = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
            file.write(_text(name) + dims + struct.pack("<BI", kind, array.nbytes))
            file.write(array.tobytes())
        file.write(struct.pack("<I", 0))
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[0, 1]]}))
    return folder


def _text(text):
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def _fused(whole):
    """CTranslate2's variables: projections of one input lie in one matrix."""
    names = {"embed_positions.weight": "position_encodings/encodings",
             "embed_tokens.weight": "embeddings/weight"}  # fmt: skip
    parts = {"weight": "gamma", "bias": "beta"}
    found = {}
    for name, array in whole.items():
        _, side, rest = name.split(".", 2)
        if rest in names:
            found[f"{side}/{names[rest]}"] = array
        elif rest.startswith("conv"):
            found[f"{side}/{rest.replace('.', '/')}"] = array
        elif rest.startswith("layer_norm"):
            found[f"{side}/layer_norm/{parts[rest.split('.')[-1]]}"] = array
    for side, blocks in (("encoder", {"self_attn": "self_attention"}),
                         ("decoder", {"self_attn": "self_attention",
                                      "encoder_attn": "attention"})):  # fmt: skip
        ours, theirs = f"model.{side}.layers.0", f"{side}/layer_0"
        norms = {f"{one}_layer_norm": f"{two}/layer_norm" for one, two in blocks.items()}
        for one, two in (norms | {"final_layer_norm": "ffn/layer_norm"}).items():
            for part, letter in parts.items():
                found[f"{theirs}/{two}/{letter}"] = whole[f"{ours}.{one}.{part}"]
        for number in (0, 1):
            for part in parts:
                found[f"{theirs}/ffn/linear_{number}/{part}"] = whole[
                    f"{ours}.fc{number + 1}.{part}"
                ]
        for one, two in blocks.items():
            for number, fused in enumerate(
                ("qkv", "o") if one == "self_attn" else ("q", "kv", "o")
            ):
                for part in parts:
                    found[f"{theirs}/{two}/linear_{number}/{part}"] = np.concatenate(
                        [_projection(whole, f"{ours}.{one}", letter, part) for letter in fused]
                    )
    return found


def _projection(whole, prefix, letter, part):
    if (letter, part) == ("k", "bias"):
        return np.zeros(WIDTH, np.float16)
    return whole[f"{prefix}.{'out' if letter == 'o' else letter}_proj.{part}"]


def save_openai(path, whole, heads=HEADS):
    """As OpenAI has it: one `.pt`; the path."""
    import torch

    tokens = len(whole["model.decoder.embed_tokens.weight"]) if whole else TOKENS
    dims = {"n_audio_head": heads, "n_text_head": heads, "n_vocab": tokens}
    state = {_openais(name): torch.from_numpy(array) for name, array in whole.items()}
    torch.save({"dims": dims, "model_state_dict": state}, path)
    return path


def _openais(name):
    for ours, theirs in {
        "model.": "",
        ".layers.": ".blocks.",
        ".fc1.": ".mlp.0.",
        ".fc2.": ".mlp.2.",
        ".final_layer_norm.": ".mlp_ln.",
        ".encoder_attn_layer_norm.": ".cross_attn_ln.",
        ".self_attn_layer_norm.": ".attn_ln.",
        "encoder.layer_norm.": "encoder.ln_post.",
        "decoder.layer_norm.": "decoder.ln.",
        ".encoder_attn.": ".cross_attn.",
        ".self_attn.": ".attn.",
        ".q_proj.": ".query.",
        ".k_proj.": ".key.",
        ".v_proj.": ".value.",
        ".out_proj.": ".out.",
        ".embed_positions.weight": ".positional_embedding",
        ".embed_tokens.": ".token_embedding.",
    }.items():
        name = name.replace(ours, theirs)
    return name


def save_tokenizer(folder):
    make_tokenizer(TOKENS).save(str(folder / "tokenizer.json"))
