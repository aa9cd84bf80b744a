"""Engines' own metrics: those of every model, and no longer those of an engine that is gone."""

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.engine_metrics import EngineRegistries


def start(registries, model, value):
    """An engine of a model, as it tells vLLM's metrics."""
    registry, told = CollectorRegistry(), registries.of(model).renew()
    Gauge("vllm:running", "Running", ("model_name",), registry=registry).labels(model).set(value)
    told.families = tuple(registry.collect())


def told(registries):
    families = list(text_string_to_metric_families(generate_latest(registries).decode()))
    assert len({family.name for family in families}) == len(families)  # each told once
    return {
        sample.labels["model_name"]: sample.value
        for family in families
        for sample in family.samples
    }


def test_a_second_engine_does_not_end_the_firsts_series():
    registries = EngineRegistries()
    start(registries, "a", 1)
    start(registries, "b", 2)
    assert told(registries) == {"a": 1, "b": 2}


def test_an_engine_that_was_started_again_is_told_in_place_of_the_one_before():
    registries = EngineRegistries()
    start(registries, "a", 1)
    start(registries, "b", 2)
    start(registries, "a", 0)
    assert told(registries) == {"a": 0, "b": 2}
