"""Radio sentences spoken by espeak-ng and flite (Debian packages), at 16 kHz.

    python -m demo.recipe.voices FIRST LAST OUT.pkl

makes one clip a seed in [FIRST, LAST): (language, [(start, end, text)…], samples), times in steps
of 20 ms, samples as int16.
"""

import io
import pickle
import random
import subprocess
import sys
import tempfile
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray

from app.audio.waveform import SAMPLE_RATE
from demo.recipe.radio import Radio

ENGLISH = ["en-us", "en-gb", "en-gb-x-rp"]
VARIANTS = ["", "+m1", "+m3", "+m7", "+f2", "+f4"]
FLITE = ["rms", "slt"]
LONGEST = 9.0  # seconds of a clip
STEPS_A_SECOND = 50

Clip = tuple[str, list[tuple[int, int, str]], NDArray[np.int16]]


def speak(choose: random.Random, language: str, text: str) -> NDArray[np.float32]:
    """One sentence by a voice of its language, without the silence around it."""
    if language == "en" and choose.random() < 0.2:
        content = _flite(choose.choice(FLITE), text)
    else:
        accent = choose.choice(ENGLISH) if language == "en" else "cmn"
        command = ["espeak-ng", "-v", accent + choose.choice(VARIANTS)]
        command += ["-s", str(choose.randint(120, 200)), "-p", str(choose.randint(20, 80))]
        command += ["--stdout", text]
        content = subprocess.run(command, check=True, capture_output=True).stdout
    samples = _samples(content)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    if len(loud):
        samples = samples[max(0, loud[0] - 400) : loud[-1] + 800]
    return samples / (np.abs(samples).max() + 1e-6)


def _flite(voice: str, text: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", voice, "-t", text, "-o", file.name]
        subprocess.run(command, check=True, capture_output=True)
        return Path(file.name).read_bytes()


def _samples(content: bytes) -> NDArray[np.float32]:
    with wave.open(io.BytesIO(content)) as header:
        rate = header.getframerate()
    data = content[44 : len(content) - len(content) % 2]  # espeak-ng's header promises too much
    samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE)


def clip(seed: int) -> Clip | None:
    """One or two sentences with pauses around them; None where the first is too long."""
    choose = random.Random(seed)
    radio = Radio(choose, "zh" if choose.random() < 0.25 else "en")
    at, segments = choose.uniform(0, 0.6), []
    parts = [np.zeros(int(at * SAMPLE_RATE), np.float32)]
    for _ in range(choose.choice([1, 1, 2])):
        text = radio.sentence()
        samples = speak(choose, radio.language, text)
        end = at + len(samples) / SAMPLE_RATE
        if end > LONGEST:
            break
        segments.append((round(at * STEPS_A_SECOND), round(end * STEPS_A_SECOND), text))
        pause = choose.uniform(0.1, 0.6)
        parts += [samples, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
        at = end + pause
    if not segments:
        return None
    return radio.language, segments, (np.concatenate(parts) * 0.6 * 32767).astype(np.int16)


def main() -> None:
    first, last, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with ThreadPoolExecutor(2) as pool:
        clips = [made for made in pool.map(clip, range(first, last)) if made]
    Path(out).write_bytes(pickle.dumps(clips))
    print(len(clips), "clips")


if __name__ == "__main__":
    main()
