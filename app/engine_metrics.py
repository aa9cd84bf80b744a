"""Metrics that engines export themselves (vLLM's `vllm:*`), kept apart by model.

vLLM registers its metrics in the process's default registry and takes out those of every engine
before (`vllm/v1/metrics/prometheus.py::unregister_vllm_metrics`). Here each model's engine has a
registry of its own, and one exposition tells all of them as single families, as Prometheus asks.
"""

from collections.abc import Iterator
from copy import copy

from prometheus_client import CollectorRegistry, Metric


class EngineRegistry:
    """Where the engine of one model registers. A new engine begins with an empty one."""

    def __init__(self) -> None:
        self.current = CollectorRegistry()

    def renew(self) -> CollectorRegistry:
        """An empty registry in place of the one before."""
        self.current = CollectorRegistry()
        return self.current


class EngineRegistries:
    """All models' registries as one, for prometheus_client's exposition."""

    def __init__(self) -> None:
        self._by_model: dict[str, EngineRegistry] = {}

    def of(self, model: str) -> EngineRegistry:
        return self._by_model.setdefault(model, EngineRegistry())

    def collect(self) -> Iterator[Metric]:
        """Each family once, with the samples of every model's engine."""
        families: dict[str, Metric] = {}
        for registry in self._by_model.values():
            for family in registry.current.collect():
                if family.name not in families:
                    families[family.name] = copy(family)
                    families[family.name].samples = []
                families[family.name].samples += family.samples
        yield from families.values()
