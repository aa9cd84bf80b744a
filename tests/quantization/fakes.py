"""Recordings, hearings and proofs that are made up."""

import json
from dataclasses import replace

from app.audio.decoding import InThisProcess
from app.models.base import (
    Capabilities,
    LanguageDetection,
    Segment,
    WindowFigures,
    WindowResult,
    Word,
)
from app.quantization.proof import LanguageProof, Proof, Sentence
from app.quantization.request import Thresholds
from app.recordings.error_rates import Interval
from tests.sound import encode, tone


class Says:
    """A decoder that says `texts[language]` of every window, or raises it; `asked` are the
    requests. Where `words_ms` are given, each word of a text begins at one of them."""

    def __init__(self, words_ms=(), **texts):
        self.texts, self.asked, self.closed = texts, [], 0
        self.gate, self._words_ms = None, words_ms
        self.capabilities = Capabilities(frozenset(texts), word_times=bool(words_ms))

    async def decode_window(self, request, on_token=lambda: None):
        self.asked.append(request)
        try:
            if self.gate:
                await self.gate.wait()
            (language,) = request.languages
            text = self.texts[language]
            if isinstance(text, Exception):
                raise text
            figures = WindowFigures(0, 0.0, -0.1, 1.0, 0.0)
            said = (Segment(0, 1000, text),) if text else ()
            detection = LanguageDetection({language: 1.0}, 0.0)
            yield WindowResult(request, detection, figures, said, None, "text")
        finally:
            self.closed += 1

    async def align(self, _, segments):
        return tuple(
            replace(
                segment,
                words=tuple(
                    Word(start_ms, start_ms + 10, f" {word}")
                    for start_ms, word in zip(self._words_ms, segment.text.split(), strict=True)
                ),
            )
            for segment in segments
        )


class Decoding(InThisProcess):
    """Counts what is `decoded`."""

    def __init__(self):
        self.decoded = 0

    async def decode(self, file, *, max_seconds):
        self.decoded += 1
        return await super().decode(file, max_seconds=max_seconds)


def recordings(folder, *rows):
    """A manifest with (text, language) as its rows, each with a sound of its own."""
    folder.mkdir(exist_ok=True)
    lines = []
    for number, (text, language) in enumerate(rows):
        name = f"{number}.wav"
        (folder / name).write_bytes(encode(tone(1, 300 + 10 * number)))
        lines.append(json.dumps({"audio": name, "text": text, "language": language}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return str(folder)


def interval(value):
    return Interval(value, value, value)


def proof(*clips, reasons=(), rates=None, **more):
    """Of clips that were heard as they were said. `rates` are the candidate's, by language."""
    languages = {}
    for language in dict.fromkeys(clip.language for clip in clips):
        metric = "cer" if language == "zh" else "wer"
        rate = (rates or {}).get(language, 0.0)
        languages[language] = LanguageProof(
            recordings=sum(clip.language == language for clip in clips),
            metric=metric,
            source={metric: interval(rate)},
            candidate={metric: interval(rate)},
            recovery=interval(1.0),
            increase=0.0,
        )
    sentences = [
        Sentence(
            audio=clip.name,
            language=clip.language,
            text=clip.text,
            source=clip.text,
            candidate=clip.text,
            source_errors=0,
            candidate_errors=0,
            units=1,
        )
        for clip in clips
    ]
    figures = {
        "nll_difference": {"value": 0.0, "low": 0.0, "high": 0.0},
        "token_agreement": {"value": 1.0, "low": 1.0, "high": 1.0},
    }
    given = {
        "languages": languages,
        "comparison": {"overall": figures},
        "weight_bytes": {"source": 2000, "candidate": 1000},
        "weight_bytes_per_token": {"source": 200, "candidate": 100},
        "rtfx": {"source": 10.0, "candidate": 20.0},
        "kernels": {"source": {"torch": 4}, "candidate": {"marlin": 4}},
        "run": {"proving_seconds": 1.0},
        "thresholds": Thresholds(),
        "reasons": list(reasons),
        "emulated": False,
        "sentences": sentences,
    }
    return Proof(**given | more)
