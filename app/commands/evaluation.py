"""Measurement of a server's error rates on recordings whose words are known."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from app.client import Refused, explained, transcribe
from app.languages import code_of
from app.recordings.clip import Clip
from app.recordings.error_rates import Interval, Metric, Pair, count, metrics_of, rate
from app.recordings.writing_systems import CHINESE


@dataclass(frozen=True)
class Outcome:
    """The outcome of one recording. `transcript` and `language`, an ISO code, are the server's;
    `fault` says why there is no answer."""

    clip: Clip
    transcript: str = ""
    language: str = ""
    seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True)
class Score:
    """The score of one language. as_written: the CER that counts Traditional and Simplified as
    different."""

    recordings: int
    rates: dict[Metric, Interval]
    as_written: Interval | None
    language_right: int


@dataclass(frozen=True)
class Report:
    """Scores by language. rtfx: seconds of audio a second, all requests in flight counted
    together."""

    scores: dict[str, Score]
    outcomes: tuple[Outcome, ...]
    rtfx: float

    @property
    def faults(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.fault]

    def as_json(self) -> dict[str, Any]:
        return {
            "languages": {language: asdict(score) for language, score in self.scores.items()},
            "rtfx": self.rtfx,
            "recordings": [
                {
                    "audio": str(one.clip.audio), "language": one.clip.language,
                    "text": one.clip.text, "heard": one.transcript, "fault": one.fault or None,
                }
                for one in self.outcomes
            ],
        }  # fmt: skip


def evaluate(
    client: httpx.Client,
    clips: Sequence[Clip],
    *,
    at_once: int,
    send_language: bool,
    on_done: Callable[[], None] = lambda: None,
) -> Report:
    """Send every clip and score the transcripts. A clip without an answer scores as silence."""

    def ask(clip: Clip) -> Outcome:
        outcome = _ask(client, clip, send_language)
        on_done()
        return outcome

    started = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        outcomes = tuple(pool.map(ask, clips))
    elapsed = time.monotonic() - started
    by_language: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_language.setdefault(outcome.clip.language, []).append(outcome)
    return Report(
        {language: _score(language, by_language[language]) for language in sorted(by_language)},
        outcomes,
        sum(outcome.seconds for outcome in outcomes) / elapsed,
    )


def _ask(client: httpx.Client, clip: Clip, send_language: bool) -> Outcome:
    fields = {"response_format": "verbose_json"}
    if send_language:
        fields["language"] = clip.language
    try:
        assert not isinstance(clip.audio, bytes), "recordings to be sent are files"
        body = transcribe(client, clip.audio, fields).json()
    except (OSError, Refused, httpx.HTTPError) as error:
        return Outcome(clip, fault=explained(error, str(client.base_url).rstrip("/")))
    return Outcome(
        clip, body["text"], code_of(body["language"]) or body["language"], body["duration"]
    )


def _score(language: str, outcomes: Sequence[Outcome]) -> Score:
    pairs = [Pair(language, one.clip.text, one.transcript) for one in outcomes]
    rates = {metric: rate(count(pairs, metric)) for metric in metrics_of(language)}
    chinese = language in CHINESE
    as_written = rate(count(pairs, "cer", fold_script=False)) if chinese else None
    right = sum(one.language == language for one in outcomes)
    return Score(len(outcomes), rates, as_written, right)
