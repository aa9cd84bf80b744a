"""Recordings as the model's inputs and labels."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import WhisperFeatureExtractor

from app.audio.waveform import SAMPLE_RATE
from app.errors import NoCalibration
from app.models.whisper_vllm.text import load_tokenizer
from app.models.whisper_vllm.tokens import TIMESTAMP_MS, SpecialTokens
from app.quantizer.packing import Window, window_of
from app.recordings.read import read
from app.recordings.spec import Recordings
from app.recordings.writing_systems import UNSPACED

# input_features, shape (mels, 3000), and decoder_input_ids, shape (tokens,)
Sample = dict[str, torch.Tensor]


@dataclass(frozen=True)
class LabelledExample:
    """A window as the model meets it when it serves, with what it is to write.

    written: the tokens that the model is to write, the end of the text included, shape (tokens,).
    The
        last of the decoder's inputs are these, one token earlier.
    """

    language: str
    text: str
    inputs: Sample
    written: torch.Tensor


def spoken(folder: Path, wanted: Recordings, dtype: torch.dtype) -> list[LabelledExample]:
    """Prepare recordings as they are when the model serves, each in a window of its own. Raises
    NoCalibration."""
    return labelled(folder, map(window_of, read(wanted)), dtype)


def labelled(folder: Path, windows: Iterable[Window], dtype: torch.dtype) -> list[LabelledExample]:
    """Prepare windows as inputs and labels: of each language every second with timestamps, every
    other without. Raises NoCalibration."""
    tokens = SpecialTokens.load(folder)
    tokenizer = load_tokenizer(folder)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    made = []
    seen: Counter[str] = Counter()
    for window in windows:
        features = extractor(
            window.samples, sampling_rate=SAMPLE_RATE, return_tensors="pt"
        ).input_features[0]
        timestamps = seen[window.language] % 2 == 0
        seen[window.language] += 1
        prompt = _prompt(window, tokens, timestamps)
        written = _written(window, tokens, tokenizer, timestamps)
        # What has no room is cut off, the end of the text first.
        written = [*written, tokens.end_of_text][: tokens.max_tokens + 1 - len(prompt)]
        inputs = {
            "input_features": features.to(dtype),
            "decoder_input_ids": torch.tensor([*prompt, *written[:-1]]),
        }
        made.append(LabelledExample(window.language, window.text, inputs, torch.tensor(written)))
    return made


def _prompt(window: Window, tokens: SpecialTokens, timestamps: bool) -> list[int]:
    """Return the tokens that come before the model's first own token when it serves."""
    ids = [tokens.start]
    if window.language not in (tokens.languages or {"en"}):  # a model of English alone names none
        raise NoCalibration(
            f"Calibration language {window.language} is not one this checkpoint knows.",
            "Correct the manifest, or set MARLINSCRIBE_CALIBRATION_LANGUAGE.",
        )
    if tokens.languages:
        ids += [tokens.languages[window.language], tokens.transcribe]
    return ids if timestamps else [*ids, tokens.no_timestamps]


def _written(
    window: Window, tokens: SpecialTokens, tokenizer: Tokenizer, timestamps: bool
) -> list[int]:
    """Return the tokens of the window's words, and of their times where they are wanted."""

    def words(text: str) -> list[int]:
        # As the model writes: English pieces begin with a space.
        text = text if window.language in UNSPACED else f" {text}"
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def time(at: float) -> int:
        # The nearest: rounding down would take 8.04 s for 8.02, as floats have it.
        steps = min(round(at * 1000 / TIMESTAMP_MS), len(tokens.timestamps) - 1)
        return tokens.timestamps[steps]

    if not timestamps:
        return words(window.text)
    ids = []
    for start, end, text in window.segments:
        ids += [time(start), *words(text), time(end)]
    return ids


def batch(several: list[Sample]) -> Sample:
    return {name: torch.stack([s[name] for s in several]) for name in several[0]}
