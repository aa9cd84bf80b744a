"""What a server's /metrics say of the time between two looks at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

_OURS = "marlinscribe_"
_ROUTE = "/v1/audio/transcriptions"
_REQUEST = "marlinscribe_request_duration_seconds"
_STEP = "marlinscribe_inter_token_latency_seconds"
_RESTARTS = "marlinscribe_engine_restarts_total"
_REFUSED = "marlinscribe_requests_refused_total"
_STARTED = "process_start_time_seconds"
# A request's stages, in their order (app/metrics.py); what is left of its time is the engine's, and
# the answer's.
STAGES = {
    "upload": "marlinscribe_upload_duration_seconds",
    "decoder queue": "marlinscribe_decode_queue_duration_seconds",
    "audio decode": "marlinscribe_audio_decode_duration_seconds",
    "speech search": "marlinscribe_vad_duration_seconds",
    "queue": "marlinscribe_queue_duration_seconds",
}
# A window's in the engine. Windows of one request are there at once, so these are no parts of it.
ENGINE = {
    "engine queue": "marlinscribe_window_queue_duration_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
    "decode": "vllm:request_decode_time_seconds",
}

_Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Look:
    """Samples by name and labels, at one moment."""

    samples: Mapping[tuple[str, _Labels], float]

    @classmethod
    def of(cls, text: str) -> "Look | None":
        """Read an exposition; None where it has no metrics of Marlinscribe."""
        try:
            families = list(text_string_to_metric_families(text))
        except ValueError:
            return None
        several = [one for family in families for one in family.samples]
        if not any(one.name.startswith(_OURS) for one in several):
            return None
        return cls({(one.name, frozenset(one.labels.items())): one.value for one in several})

    def sum(self, name: str, **labels: str) -> float:
        """Add the samples of that name that have these labels."""
        wanted = labels.items()
        return sum(
            value for (one, its), value in self.samples.items() if one == name and wanted <= its
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the samples of that name, added by a label's value."""
        values = {dict(its).get(label, "") for one, its in self.samples if one == name}
        return {value: self.sum(name, **{label: value}) for value in sorted(values)}


async def look(server: httpx.AsyncClient) -> Look | None:
    """Look at a server's metrics; None where it has none of ours, or does not answer."""
    try:
        answer = await server.get("/metrics")
    except httpx.HTTPError:
        return None
    return Look.of(answer.text) if answer.is_success else None


@dataclass(frozen=True)
class Between:
    """What happened between two looks. Of a server that was started anew meanwhile the first look
    tells nothing."""

    before: Look
    after: Look

    @property
    def restarted(self) -> bool:
        """Whether the server was started anew."""
        return self.before.sum(_STARTED) != self.after.sum(_STARTED)

    def _added(self, name: str, **labels: str) -> float:
        earlier = 0.0 if self.restarted else self.before.sum(name, **labels)
        return self.after.sum(name, **labels) - earlier

    def _added_by(self, name: str, label: str) -> dict[str, int]:
        earlier = {} if self.restarted else self.before.by(name, label)
        found = {
            value: round(count - earlier.get(value, 0))
            for value, count in self.after.by(name, label).items()
        }
        return {value: count for value, count in found.items() if count > 0}

    @property
    def requests(self) -> int:
        """How many transcriptions were answered, ours and others'."""
        return round(self._added(f"{_REQUEST}_count", route=_ROUTE))

    @property
    def engine_restarts(self) -> dict[str, int]:
        """How often an engine was started again, by reason."""
        return self._added_by(_RESTARTS, "reason")

    @property
    def refused(self) -> dict[str, int]:
        """How many requests were refused, by code."""
        return self._added_by(_REFUSED, "code")

    def stages(self) -> dict[str, float]:
        """Return the shares of requests' time that stages took; {} where no request ended. The
        last, `engine`, is all that is no other's."""
        whole = self._added(f"{_REQUEST}_sum", route=_ROUTE)
        if whole <= 0:
            return {}
        shares = {stage: self._added(f"{name}_sum") / whole for stage, name in STAGES.items()}
        return {**shares, "engine": max(0.0, 1 - sum(shares.values()))}

    def engine(self) -> dict[str, float]:
        """Return the shares of windows' time in the engine; {} where none was there."""
        seconds = {stage: self._added(f"{name}_sum") for stage, name in ENGINE.items()}
        whole = sum(seconds.values())
        return {stage: one / whole for stage, one in seconds.items()} if whole > 0 else {}

    def token_seconds(self) -> float | None:
        """Return the mean time between two tokens of a window."""
        tokens = self._added(f"{_STEP}_count")
        return self._added(f"{_STEP}_sum") / tokens if tokens > 0 else None

    def notes(self, sent: int) -> list[str]:
        """Say what makes figures doubtful of a load in which so many requests were sent."""
        notes = []
        if self.restarted:
            notes.append("The server was started anew meanwhile.")
        for reason, times in self.engine_restarts.items():
            notes.append(f"An engine was started again ({reason}, {times} x).")
        if self.refused:
            told = ", ".join(f"{code} {count} x" for code, count in self.refused.items())
            notes.append(f"The server refused requests: {told}.")
        if (others := self.requests - sent) > 0:
            notes.append(f"{others} requests of others were answered meanwhile.")
        return notes


def what_serves(answer: httpx.Response) -> dict[str, Any]:
    """Return the default model's name, scheme and kernels, as far as /v1/models tells them."""
    try:
        model = answer.json()["data"][0]
        told = model.get("marlinscribe") or {}
        return {"model": model["id"], **{k: told[k] for k in ("scheme", "kernels") if k in told}}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
