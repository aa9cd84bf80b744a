"""What `marlinscribe bench` prints: tables for people, JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from app.commands.load import Load
from app.commands.server_metrics import ENGINE, STAGES, Between
from app.recordings.error_rates import Metric, Pair, count, metrics_of, rate

_QUANTILES = (0.5, 0.95, 0.99)
_FIRST_TEXTS = (0.5, 0.95)
_COLUMNS = (
    "load", "requests", "RTFx", "requests/s", "p50 ms", "p95 ms", "p99 ms", "TTFT p50 ms",
    "TTFT p95 ms", "errors",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A load by its name, its answers, and what the server's metrics say of it, where they do."""

    name: str
    load: Load
    server: Between | None

    @property
    def notes(self) -> list[str]:
        """What is to be known of the row: errors by code, and what makes its figures doubtful."""
        told = [
            f"{number} x {code}: {self._why(code)}" for code, number in self.load.errors.items()
        ]
        return told + (self.server.notes(len(self.load.answers)) if self.server else [])

    def _why(self, code: str) -> str:
        return next(one.why for one in self.load.answers if one.code == code)

    def error_rates(self) -> dict[Metric, float]:
        """Return the error rates of one answer to each recording whose words are known: WER, and
        CER of languages that are measured by characters."""
        heard = {one.recording: one.text for one in self.load.good if one.recording.text}
        pairs: dict[Metric, list[Pair]] = {}
        for recording, text in heard.items():
            one = Pair(recording.language, recording.text, text)
            pairs.setdefault(metrics_of(recording.language)[0], []).append(one)
        return {metric: rate(count(several, metric)).value for metric, several in pairs.items()}


def tables(server: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Table]:
    """Yield the table of speed and, where the server tells it, that of where the time goes."""
    rates = [row.error_rates() for row in rows]
    metrics: list[Metric] = [one for one in ("wer", "cer") if any(one in its for its in rates)]
    title = ", ".join(str(told) for told in server.values())
    speed = _table(title, (*_COLUMNS, *(one.upper() for one in metrics)))
    for row, its in zip(rows, rates, strict=True):
        told = (f"{its[one]:.1%}" if one in its else "" for one in metrics)
        speed.add_row(*_speed(row), *told)
    yield speed
    yield from _stages(rows)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, highlight=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _speed(row: Row) -> Iterator[str]:
    load = row.load
    yield row.name
    yield str(len(load.answers))
    yield f"{load.rtfx:.1f}"
    yield f"{len(load.good) / load.took:.2f}"
    yield from (_ms(load.latency(share)) for share in _QUANTILES)
    yield from (_ms(load.first_text(share)) for share in _FIRST_TEXTS)
    yield str(load.errors.total())


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.0f}"


def _stages(rows: Sequence[Row]) -> Iterator[Table]:
    told = [(row.name, row.server) for row in rows if row.server and row.server.stages()]
    if not told:
        return
    whole = _table("Where a request's time goes, by the server", ("load", *STAGES, "engine"))
    inner = _table("Where a window's time in the engine goes", ("load", *ENGINE, "ms a token"))
    for name, server in told:
        whole.add_row(name, *(f"{share:.1%}" for share in server.stages().values()))
        if engine := server.engine():
            token = server.token_seconds()
            shares = (f"{share:.1%}" for share in engine.values())
            inner.add_row(name, *shares, "" if token is None else f"{1000 * token:.1f}")
    yield whole
    if inner.rows:
        yield inner


def as_json(server: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything for programs; times are in seconds."""
    return {"server": dict(server), "loads": [_as_json(row) for row in rows]}


def _as_json(row: Row) -> dict[str, Any]:
    load = row.load
    return {
        "load": row.name,
        "requests": len(load.answers),
        "succeeded": len(load.good),
        "seconds": load.took,
        "rtfx": load.rtfx,
        "requests_per_second": len(load.good) / load.took,
        "latency": {f"p{share * 100:g}": load.latency(share) for share in _QUANTILES},
        "ttft": {f"p{share * 100:g}": load.first_text(share) for share in _FIRST_TEXTS},
        "stages": row.server.stages() if row.server else {},
        "engine": row.server.engine() if row.server else {},
        "token": row.server.token_seconds() if row.server else None,
        "errors": dict(load.errors),
        **{str(metric): value for metric, value in row.error_rates().items()},
        "notes": row.notes,
    }
