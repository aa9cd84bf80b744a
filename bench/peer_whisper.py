"""What openai/whisper, or stable-ts on top of it, makes of recordings. It runs in an environment of
its own, without ours:

PYTHON -m bench.peer_whisper MODEL openai|stable-ts FOLDER

reads FOLDER/tasks.json, and prints for each of its tasks a line of JSON. MODEL is OpenAI's .pt, or
a folder of the weights in Hugging Face's layout, which needs safetensors. Tokens are the likeliest,
as elsewhere; what each of the two does by default stays on.
"""

import argparse
import json
import time
import wave
from pathlib import Path
from typing import Any

# What Hugging Face's layout calls what OpenAI's calls otherwise, in the order of renaming.
_NAMES = (
    ("model.", ""),
    ("layers", "blocks"),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
    ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"),
)
_SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}


def main() -> None:
    wanted = argparse.ArgumentParser(
        prog="bench.peer_whisper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted.add_argument("model", type=Path)
    wanted.add_argument("program", choices=("openai", "stable-ts"))
    wanted.add_argument("folder", type=Path)
    asked = wanted.parse_args()
    model = load(asked.model)
    if asked.program == "stable-ts":
        import stable_whisper

        stable_whisper.modify_model(model)
    transcribe(model, asked.folder)


def load(path: Path) -> Any:
    """Load the weights in 32 bits, with the heads that the model's words are aligned by."""
    import torch
    import whisper

    if path.is_file():
        return whisper.load_model(str(path), device="cpu").float()
    config = json.loads((path / "config.json").read_text("utf-8"))
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items()}
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**sizes))
    model.load_state_dict(_weights(path))
    told = json.loads((path / "generation_config.json").read_text("utf-8"))
    heads = torch.zeros(sizes["n_text_layer"], sizes["n_text_head"], dtype=torch.bool)
    for layer, head in told["alignment_heads"]:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.float().eval()


def _weights(folder: Path) -> dict[str, Any]:
    """Read the weights under OpenAI's names. The last layer is the first one's, as in OpenAI's."""
    from safetensors.torch import load_file

    files = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    named = {name: tensor for file in files for name, tensor in file.items()}
    return {renamed(name): named[name].float() for name in named if name != "proj_out.weight"}


def renamed(name: str) -> str:
    """Return OpenAI's name of what has this one in Hugging Face's layout."""
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name


def transcribe(model: Any, folder: Path) -> None:
    """Print what is heard for each task of the folder's tasks.json, a line each."""
    for task in json.loads((folder / "tasks.json").read_text("utf-8")):
        begun = time.monotonic()
        heard = model.transcribe(
            _samples(folder / task["audio"]),
            language=task["language"],
            word_timestamps=task["words"],
            verbose=None,
            fp16=False,
        )
        body = heard if isinstance(heard, dict) else heard.to_dict()  # stable-ts has its own class
        segments = body["segments"]
        told = {
            "seconds": time.monotonic() - begun,
            "segments": [[one["start"], one["end"], one["text"]] for one in segments],
            "words": [
                [word["start"], word["end"], word["word"]]
                for one in segments
                for word in one.get("words") or ()
            ],
            "language": body["language"],
        }
        print(json.dumps(told, default=float), flush=True)


def _samples(path: Path) -> Any:
    """Read the samples, as whisper would with ffmpeg."""
    import numpy as np

    with wave.open(str(path)) as file:
        return (
            np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
        )


if __name__ == "__main__":
    main()
