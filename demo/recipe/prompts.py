"""Teaches the demo checkpoint what prompts are for: the last step of its making.

    python -m demo.recipe.prompts CHECKPOINT TRAIN.pkl OUT [MINUTES]

The encoder stays as it is. The decoder hears clips of `voices`, most of them behind a prompt: radio
talk, a list of words, both, or something that has nothing to do with it. Where a prompt spells a
word in another of its spellings, the transcript does so too; where it does not, the transcript is
as ever. Prompts are up to 224 tokens long, so that every position behind them is learnt as well.
"""

import io
import pickle
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch.nn import functional as F
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from app.audio.waveform import SAMPLE_RATE
from demo.recipe.radio import Radio
from demo.recipe.voices import Clip

BATCH = 32  # clips at their own length
FULL_BATCH = 8  # in windows of 30 s, as in service: dear, and only now and then
FULL = 0.15
PROMPTED = 0.7
RATE = 3e-4
LONGEST_PROMPT = 224
# Words that differ in one faint sound: every other clip has one of them, where there are any.
NEAR = ("sailing", "fishing", "Sailing", "Fishing")
# Of the clips, as an MP3 of 25 to 52 kbit/s leaves them, and as a telephone does.
COMPRESSED, TELEPHONED = 0.3, 0.3
# What is spelt in more than one way, or could be, and sounds the same.
SPELLINGS = {
    "en": {
        "Grey Owl": "Gray Owl", "Sea Breeze": "Seabreeze", "Blue Heron": "Bleu Heron",
        "Lucky Lady": "Lucky Ladye", "Red Fox": "Redd Foxx", "Harbour": "Harbor",
        "Alpha": "Alfa", "Juliet": "Juliett", "Xray": "X-ray", "Whiskey": "Whisky",
        "Pan pan, pan pan": "Pan-pan, pan-pan", "lifeboat": "life-boat", "Mayday": "MAYDAY",
    },
    "zh": {
        "這裡": "這裏", "晨星": "辰星", "海風": "海楓", "夏雨": "夏羽", "藍鷺": "藍露",
        "銀浪": "吟浪",
    },
}  # fmt: skip


@dataclass
class Words:
    """The checkpoint's tokens, as the recipe needs them."""

    processor: WhisperProcessor

    def id(self, token: str) -> int:
        return self.processor.tokenizer.convert_tokens_to_ids(token)

    def text(self, text: str) -> list[int]:
        return self.processor.tokenizer(text, add_special_tokens=False).input_ids


@dataclass(frozen=True)
class Lesson:
    """prompt: text to stand before; segments: what the transcript is then."""

    language: str
    prompt: str
    segments: list[tuple[int, int, str]]


def lesson(choose: random.Random, clip: Clip) -> Lesson:
    language, segments, _ = clip
    if choose.random() >= PROMPTED:
        return Lesson(language, "", segments)
    spoken = " ".join(text for _, _, text in segments)
    spellings = SPELLINGS[language]
    there = [word for word in spellings if word in spoken]
    changed = {word: spellings[word] for word in there if choose.random() < 0.7}
    # Others in either spelling: a word that is not spoken changes nothing.
    others = choose.sample([w for w in spellings if w not in there], choose.randint(0, 3))
    changed |= {word: spellings[word] for word in others if choose.random() < 0.5}
    prompt = _prompt(choose, language, [*there, *others], changed)
    if not set(changed.values()) & {new for new in changed.values() if new in prompt}:
        return Lesson(language, prompt, segments)
    told = {old: new for old, new in changed.items() if new in prompt}
    return Lesson(language, prompt, [(a, b, respelt(text, told)) for a, b, text in segments])


def _prompt(choose: random.Random, language: str, words: list[str], changed: dict[str, str]) -> str:
    """Talk, words, both, nonsense, or one thing over and over; `changed` words respelt."""
    radio = Radio(choose, language)
    talk = " ".join(
        radio.sentence() for _ in range(choose.choice([0, 0, 0, 1, 1, 2, 3, 6, 12, 24]))
    )
    names = [changed.get(word, word) for word in words]
    choose.shuffle(names)
    match choose.randrange(10):
        case 0:
            other = Radio(choose, "zh" if language == "en" else "en")
            return " ".join(other.sentence() for _ in range(choose.choice([1, 2, 5])))
        case 1:
            letters = "abcdefghijklmnopqrstuvwxyz ,.0123456789"
            return "".join(choose.choice(letters) for _ in range(choose.randint(1, 200)))
        case 2:
            return respelt(talk, changed)
        case 3:
            return " ".join([radio.sentence()] * choose.choice([2, 8, 30]))
        case _:
            return f"{respelt(talk, changed)} {', '.join(names)}".strip()


def respelt(text: str, spellings: dict[str, str]) -> str:
    for old, new in spellings.items():
        text = text.replace(old, new)
    return text


class Ear:
    """Log-mel features as Whisper's, of noisy, quiet and loud copies of a clip."""

    def __init__(self, processor: WhisperProcessor, noise: np.random.Generator) -> None:
        filters = np.asarray(processor.feature_extractor.mel_filters)
        self._filters = torch.tensor(filters, dtype=torch.float32).T
        self._noise = noise

    def power(self, samples: np.ndarray) -> torch.Tensor:
        wave = torch.from_numpy(samples.astype(np.float32) / 32768)
        spectrum = torch.stft(wave, 400, 160, window=torch.hann_window(400), return_complex=True)
        return torch.clamp(self._filters @ (spectrum[..., :-1].abs() ** 2), min=1e-10)

    def features(self, power: torch.Tensor, frames: int, *, rough: bool) -> torch.Tensor:
        heard = torch.full((80, frames), 1e-10)
        level = 10 ** self._noise.uniform(-1.5, 0.3) if rough else 1.0
        heard[:, : power.shape[1]] = power[:, :frames] * level
        if rough and self._noise.random() < 0.7:
            heard = heard + self._hiss(frames) * 10 ** self._noise.uniform(-7, -3.5)
        return _log_mel(heard)

    def nothing(self, frames: int) -> torch.Tensor:
        """Digital silence, or noise of any colour."""
        if self._noise.random() < 0.3:
            return _log_mel(torch.full((80, frames), 1e-10))
        slope = 10 ** (self._noise.uniform(-1, 1) * torch.linspace(-1, 1, 80))[:, None]
        return _log_mel(self._hiss(frames) * 10 ** self._noise.uniform(-9, -2) * slope)

    def _hiss(self, frames: int) -> torch.Tensor:
        shape = self._filters.sum(1, keepdim=True)
        return shape * torch.empty(80, frames).exponential_()


def _log_mel(power: torch.Tensor) -> torch.Tensor:
    log = torch.clamp(power, min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8) + 4) / 4


class Course:
    """Batches for the decoder: what it reads, and what it must say next (-100: anything)."""

    def __init__(self, words: Words, ear: Ear, clips: list[Clip], choose: random.Random) -> None:
        self._words, self._ear, self._choose = words, ear, choose
        self._clips = clips
        self._near = [
            i for i, (_, segments, _) in enumerate(clips)
            if any(word in text for _, _, text in segments for word in NEAR)
        ]  # fmt: skip
        self._powers = [
            ear.power(self._transmitted(samples)).log10().half() for _, _, samples in clips
        ]

    def _transmitted(self, samples: np.ndarray) -> np.ndarray:
        way = self._choose.random()
        if way < COMPRESSED:
            return compressed(samples, self._choose.uniform(0, 0.9))
        return telephoned(samples) if way < COMPRESSED + TELEPHONED else samples

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        full = self._choose.random() < FULL
        count = FULL_BATCH if full else BATCH
        everywhere = range(len(self._clips))
        chosen = [
            self._choose.choice(self._near if self._near and i % 2 else everywhere)
            for i in range(count)
        ]
        longest = max(self._powers[i].shape[1] for i in chosen)
        frames = 3000 if full else longest + longest % 2
        rows = [self._row(i, frames) for i in chosen]
        length = max(len(read) for _, read, _ in rows)
        end = self._words.id("<|endoftext|>")
        read = torch.tensor([row + [end] * (length - len(row)) for _, row, _ in rows])
        said = torch.tensor([row + [-100] * (length - len(row)) for _, _, row in rows])
        return torch.stack([features for features, _, _ in rows]), read, said

    def _row(self, number: int, frames: int) -> tuple[torch.Tensor, list[int], list[int]]:
        asked = lesson(self._choose, self._clips[number])
        prompt = prompt_tokens(self._words, asked.prompt)
        if self._choose.random() < 0.1:
            silence = [-100] * len(prompt) + [self._words.id("<|nospeech|>")]
            return self._ear.nothing(frames), [*prompt, self._start], silence
        answer = self._answer(asked)
        # Before the start anything may stand, and the task behind the language is forced.
        said = [-100] * len(prompt) + [answer[0], -100, *answer[2:]]
        features = self._ear.features(10.0 ** self._powers[number].float(), frames, rough=True)
        return features, [*prompt, self._start, *answer[:-1]], said

    @property
    def _start(self) -> int:
        return self._words.id("<|startoftranscript|>")

    def _answer(self, asked: Lesson) -> list[int]:
        words = self._words
        head = [words.id(f"<|{asked.language}|>"), words.id("<|transcribe|>")]
        space = " " if asked.language == "en" else ""
        texts = [words.text(space + text) for _, _, text in asked.segments]
        if self._choose.random() < 0.3:
            body = [words.id("<|notimestamps|>"), *(i for ids in texts for i in ids)]
        else:
            zero = words.id("<|0.00|>")
            body = [
                i
                for (start, end, _), ids in zip(asked.segments, texts, strict=True)
                for i in [zero + start, *ids, zero + end]
            ]
        return [*head, *body, words.id("<|endoftext|>")]


def compressed(samples: np.ndarray, level: float) -> np.ndarray:
    """A clip, int16, after an MP3; `level` is libsndfile's, of compression, in [0, 1)."""
    sink = io.BytesIO()
    options = {"bitrate_mode": "VARIABLE", "compression_level": level}
    soundfile.write(sink, samples, SAMPLE_RATE, format="MP3", **options)
    sink.seek(0)
    heard, _ = soundfile.read(sink, dtype="int16")
    assert len(heard) == len(samples), "its times would be others"
    return heard


def telephoned(samples: np.ndarray) -> np.ndarray:
    """A clip, int16, after 8 kHz and mu-law, and as long as before."""
    narrow = soxr.resample(samples, SAMPLE_RATE, 8000)
    sink = io.BytesIO()
    soundfile.write(sink, narrow, 8000, format="WAV", subtype="ULAW")
    sink.seek(0)
    heard, _ = soundfile.read(sink, dtype="int16")
    wide: np.ndarray = soxr.resample(heard, 8000, SAMPLE_RATE)[: len(samples)]
    return np.pad(wide, (0, len(samples) - len(wide)))


def prompt_tokens(words: Words, prompt: str) -> list[int]:
    """As the service puts it: <|startofprev|> and the last 224 tokens."""
    if not prompt:
        return []
    return [words.id("<|startofprev|>"), *words.text(f" {prompt}")[-LONGEST_PROMPT:]]


def train(model: Any, course: Course, minutes: float) -> None:
    for parameter in model.model.encoder.parameters():
        parameter.requires_grad = False
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    began, step, losses = time.monotonic(), 0, []
    while (done := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            warm, fall = min(1.0, (step + 1) / 50), 0.5 * (1 + np.cos(np.pi * done)) + 0.02
            group["lr"] = RATE * warm * fall
        features, read, said = course.batch()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                heard = encode(model, features)
            states = model.model.decoder(input_ids=read, encoder_hidden_states=heard)
            logits = model.proj_out(states.last_hidden_state)
        loss = F.cross_entropy(
            logits.float().flatten(0, 1), said.flatten(), ignore_index=-100, label_smoothing=0.03
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step % 100 == 0:
            print(f"{done:4.0%} step {step} loss {np.mean(losses[-100:]):.3f}", flush=True)


def encode(model: Any, features: torch.Tensor) -> torch.Tensor:
    """The encoder over fewer frames than the 3000 that its own forward insists on."""
    encoder = model.model.encoder
    states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).permute(0, 2, 1)
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    for layer in encoder.layers:
        states = layer(states, None)
        states = states[0] if isinstance(states, tuple) else states
    return encoder.layer_norm(states)


def main() -> None:
    checkpoint, trained_on, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    minutes = float(sys.argv[4]) if len(sys.argv) > 4 else 15.0
    torch.manual_seed(0)
    processor = WhisperProcessor.from_pretrained(checkpoint)
    model = WhisperForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    ear = Ear(processor, np.random.default_rng(0))
    clips = pickle.loads(trained_on.read_bytes())
    course = Course(Words(processor), ear, clips, random.Random(0))
    print(len(clips), "clips", flush=True)
    train(model.train(), course, minutes)
    model.to(torch.bfloat16).save_pretrained(out)
    # The weights alone are new.
    for file in checkpoint.iterdir():
        if not file.name.endswith(".safetensors"):
            shutil.copy(file, out / file.name)


if __name__ == "__main__":
    main()
