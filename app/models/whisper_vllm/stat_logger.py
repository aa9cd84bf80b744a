"""vLLM's Prometheus metrics in a registry of ours: one for each engine (see app.engine_metrics)."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from vllm.v1.metrics.loggers import PrometheusStatLogger


def stat_logger(registry: CollectorRegistry) -> type[PrometheusStatLogger]:
    """A stat logger class for AsyncLLM that registers in `registry`.

    A class, because vLLM looks whether a factory is a PrometheusStatLogger and adds its own where
    none is (`vllm/v1/metrics/loggers.py::StatLoggerManager`).
    """

    class RegistryStatLogger(PrometheusStatLogger):
        _gauge_cls = partial(Gauge, registry=registry)
        _counter_cls = partial(Counter, registry=registry)
        _histogram_cls = partial(Histogram, registry=registry)

    return RegistryStatLogger
