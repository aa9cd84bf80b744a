"""Alerts, rules and dashboard ask for what there is. `make alerts` has promtool try them."""

import re
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest

from app import errors
from app.jobs import JobStatus
from app.serving.lifecycle import Stage
from deploy.grafana import dashboard
from tests.deploy.files import (
    ALERTS,
    DASHBOARD,
    PANELS,
    RECORDS,
    ROOT,
    matchers,
    metrics,
    named,
    queries,
    read,
    rules,
)

OURS = metrics()
QUERIES = [pytest.param(expr, id=f"{name}-{at}") for at, (name, expr) in enumerate(queries())]
ADDED = {"job", "instance", "le"}  # by Prometheus, and by histograms
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_that_exist(query):
    for name in named(query):
        known = name in OURS or name in RECORDS
        assert known or name.startswith(("vllm:", "process_"))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_matches_labels_that_its_metrics_have(query):
    for metric, label, _ in matchers(query):
        assert label in OURS.get(metric, set()) | ADDED


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_stages_codes_and_statuses_that_exist(query):
    known = {
        "stage": {stage.value for stage in Stage},
        "code": {kind.code for kind in vars(errors).values() if hasattr(kind, "code")},
        "status": {status.value for status in JobStatus} | {"5..", "[25].."},
    }
    for _, label, value in matchers(query):
        assert label not in known or set(value.split("|")) <= known[label]


def test_vllm_still_has_the_series_that_the_dashboard_shows():
    """Read, not imported: unit tests run without vLLM too."""
    vllm = find_spec("vllm")
    if vllm is None:
        return
    logger = Path(vllm.origin).parent / "v1" / "metrics" / "loggers.py"
    source = logger.read_text("utf-8")
    for _, query in queries():
        for name in named(query):
            if name.startswith("vllm:"):
                assert f'"{name.removesuffix("_total")}"' in source


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_saw_and_where_help_is(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    said = alert["annotations"]
    assert said["summary"]
    assert "{{" in said["description"]  # a figure, or at least which instance
    page, anchor = said["runbook_url"].split("#")
    assert (ROOT / page).is_file()
    assert anchor == name.lower()
    assert re.search(rf"^### {name}$", OPERATIONS, re.MULTILINE)


def test_every_alert_is_tried_firing_and_quiet():
    tried = {}
    for test in read("deploy/prometheus/alerts.test.yml")["tests"]:
        for one in test["alert_rule_test"]:
            tried.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert tried == {name: {True, False} for name in ALERTS}


def test_no_two_rules_share_a_name():
    every = rules("deploy/prometheus/rules.yml") + rules("deploy/prometheus/alerts.yml")
    assert len(every) == len(RECORDS) + len(ALERTS)


def test_the_reference_describes_every_metric_of_ours():
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in OURS}
    assert {name for name in families if f"`{name}`" not in REFERENCE} == set()


def test_the_dashboard_shows_every_metric_of_ours():
    shown = set()
    for _, query in queries():
        shown |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in named(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in OURS}
    assert families - shown == set()


def test_the_dashboard_is_what_its_source_says():
    assert dashboard.FILE.read_text("utf-8") == dashboard.written(), "run: make dashboard"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_what_a_reader_needs(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len(panel["targets"]) == 1 or all(one["legendFormat"] for one in panel["targets"])


def test_panels_neither_overlap_nor_share_an_id():
    def cells(panel):
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        return {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }

    for one, other in combinations(DASHBOARD["panels"], 2):
        assert one["id"] != other["id"]
        assert not cells(one) & cells(other), (one["title"], other["title"])


def test_panels_ask_the_source_that_is_provisioned():
    (source,) = read("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    asked = [panel["datasource"] for panel in PANELS]
    asked += [variable["datasource"] for variable in DASHBOARD["templating"]["list"]]
    assert all(one == {"type": source["type"], "uid": source["uid"]} for one in asked)


def test_grafana_knows_how_often_prometheus_asks():
    (source,) = read("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    prometheus = read("deploy/prometheus/prometheus.yml")
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


def test_prometheus_reads_all_rules():
    config = read("deploy/prometheus/prometheus.yml")
    assert config["rule_files"] == ["rules.yml", "alerts.yml"]
