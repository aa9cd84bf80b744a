"""The proof of a candidate against its source: plain types."""

from typing import Any

from pydantic import BaseModel

from app.quantization.request import Thresholds
from app.recordings.error_rates import Interval, Metric
from app.recordings.word_times import WordTimes


class TranscribedSet(BaseModel):
    """A checkpoint's transcripts of the proof set, in its order.

    words: of each recording whose words have known times, as (start s, end s, text).
    seconds: wall time of all of them together; audio_seconds: of their recordings.
    """

    texts: list[str]
    words: list[list[tuple[float, float, str]]]
    seconds: float
    audio_seconds: float
    kernels: dict[str, int]

    @property
    def rtfx(self) -> float:
        return self.audio_seconds / self.seconds


class LanguageProof(BaseModel):
    """The proof in one language. metric: the one that recovery and the limits are of; increase: in
    absolute terms. word_times: of the source and of the candidate, where words have known ones."""

    recordings: int
    metric: Metric
    source: dict[Metric, Interval]
    candidate: dict[Metric, Interval]
    recovery: Interval
    increase: float
    word_times: dict[str, WordTimes] = {}


class Sentence(BaseModel):
    """A recording of the proof set, with both transcripts."""

    audio: str
    language: str
    text: str
    source: str
    candidate: str
    source_errors: int
    candidate_errors: int
    units: int


class Proof(BaseModel):
    """The whole of it.

    comparison: comparison.py's figures.
    weight_bytes, weight_bytes_per_token: of the files, and of what the decoder reads for a token.
    rtfx: of both where they were heard one after the other; empty where the source was heard for
        an earlier candidate.
    run: what making and proving took.
    reasons: why it is rejected; empty where it is proven.
    notes: why the verdict, whichever it is, says little; empty where it is sound.
    """

    languages: dict[str, LanguageProof]
    comparison: dict[str, Any]
    weight_bytes: dict[str, int]
    weight_bytes_per_token: dict[str, int]
    rtfx: dict[str, float]
    kernels: dict[str, dict[str, int]]
    run: dict[str, Any]
    thresholds: Thresholds
    reasons: list[str]
    notes: list[str] = []
    emulated: bool
    sentences: list[Sentence]

    @property
    def passed(self) -> bool:
        return not self.reasons

    def summary(self) -> dict[str, Any]:
        """Return the proof for a job's record, without the sentences and the layers."""
        overall = self.comparison["overall"]
        return {
            "passed": self.passed,
            "reasons": self.reasons,
            "notes": self.notes,
            "emulated": self.emulated,
            "languages": {
                name: {
                    "recordings": one.recordings,
                    "metric": one.metric,
                    "source": round(one.source[one.metric].value, 4),
                    "candidate": round(one.candidate[one.metric].value, 4),
                    "recovery": _rounded(one.recovery),
                }
                | _word_times(one)
                for name, one in self.languages.items()
            },
            "nll_difference": overall["nll_difference"],
            "token_agreement": overall["token_agreement"],
            "weight_bytes": self.weight_bytes,
        }


def _word_times(one: LanguageProof) -> dict[str, Any]:
    times = {role: figures.model_dump() for role, figures in one.word_times.items()}
    return {"word_times": times} if times else {}


def _rounded(one: Interval) -> dict[str, float]:
    return {"value": round(one.value, 4), "low": round(one.low, 4), "high": round(one.high, 4)}
