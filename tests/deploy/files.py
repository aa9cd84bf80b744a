"""What deploy/ holds, read; and what its queries name."""

import json
import re
from pathlib import Path

import yaml

from app.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"

_NAME = re.compile(r"\b(?:marlinscribe|vllm|process)[_:][a-z0-9_:]+")
_SELECTOR = re.compile(r"(\b(?:marlinscribe|vllm)[_:][a-z0-9_:]+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_QUOTED = re.compile(r'"[^"]*"')


def read(path):
    text = (ROOT / path).read_text("utf-8")
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)


def rules(path):
    return [rule for group in read(path)["groups"] for rule in group["rules"]]


RECORDS = {rule["record"]: rule["expr"] for rule in rules("deploy/prometheus/rules.yml")}
ALERTS = {rule["alert"]: rule for rule in rules("deploy/prometheus/alerts.yml")}
DASHBOARD = read("deploy/grafana/dashboards/marlinscribe.json")
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries():
    """Where each query stands, and the query."""
    for name, expr in RECORDS.items():
        yield name, expr
    for name, rule in ALERTS.items():
        yield name, rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def all_metrics():
    metrics = Metrics()
    return [*vars(metrics).values(), *vars(metrics.background).values()]


def metrics():
    """Our metrics: the names of their samples, and each one's labels."""
    found = {}
    for metric in all_metrics():
        for family in metric.describe() if hasattr(metric, "describe") else ():
            suffixes = {
                "counter": ("_total",),
                "histogram": ("_bucket", "_sum", "_count"),
            }.get(family.type, ("",))
            found |= {family.name + suffix: set(metric._labelnames) for suffix in suffixes}
    return found


def named(query):
    """Metrics and recorded series in a query."""
    return set(_NAME.findall(_QUOTED.sub('""', query)))


def matchers(query):
    """(metric, label, value) for each of a query's matchers."""
    for metric, inside in _SELECTOR.findall(query):
        for label, _, value in _MATCHER.findall(inside):
            yield metric, label, value
