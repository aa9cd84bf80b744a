"""Metrics that engines export themselves (vLLM's `vllm:*`), kept apart by model.

An engine is another process and sends its metrics as they are from time to time; one exposition
tells those of all engines as single families, as Prometheus asks.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass

from prometheus_client import Metric


@dataclass
class EngineFigures:
    """What an engine has told last."""

    families: Sequence[Metric] = ()


class EngineRegistry:
    """Where the engine of one model is told. A new engine begins with nothing."""

    def __init__(self) -> None:
        self.current = EngineFigures()

    def renew(self) -> EngineFigures:
        """Empty figures in place of those of the engine before, which may still tell its own."""
        self.current = EngineFigures()
        return self.current


class EngineRegistries:
    """All models' engines as one, for prometheus_client's exposition."""

    def __init__(self) -> None:
        self._by_model: dict[str, EngineRegistry] = {}

    def of(self, model: str) -> EngineRegistry:
        return self._by_model.setdefault(model, EngineRegistry())

    def collect(self) -> Iterator[Metric]:
        """Each family once, with the samples of every model's engine."""
        families: dict[str, Metric] = {}
        for registry in self._by_model.values():
            for family in registry.current.families:
                if family.name not in families:
                    families[family.name] = copy(family)
                    families[family.name].samples = []
                families[family.name].samples += family.samples
        yield from families.values()
