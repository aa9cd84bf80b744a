"""Grafana's grammar: panels, and queries over our metrics. dashboard.py has what is shown."""

from typing import Any

Panel = dict[str, Any]
Row = list[tuple[int, int, Panel]]  # width and height, in Grafana's grid of 24 columns

SOURCE = {"type": "prometheus", "uid": "marlinscribe-prometheus"}  # as provisioned
SPEECH = 'route=~"/v1/audio/.+"'
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"  # Grafana's own, for dark and light
TIMES = "suffix: ×"  # seconds of audio a second


def ours(name: str, *more: str) -> str:
    """A metric of ours, of the instances chosen."""
    return f"marlinscribe_{name}" + chosen(*more)


def chosen(*more: str) -> str:
    return "{" + ", ".join(['instance=~"$instance"', *more]) + "}"


def rate(name: str, *more: str) -> str:
    return f"rate({ours(name, *more)}[$__rate_interval])"


def quantiles(name: str, *more: str, of: tuple[float, ...] = (0.5, 0.95)) -> dict[str, str]:
    buckets = f"sum by (le) ({rate(f'{name}_bucket', *more)})"
    return {f"p{100 * q:.0f}": f"histogram_quantile({q}, {buckets})" for q in of}


def mean(name: str, by: str = "") -> str:
    total = f"sum by ({by})" if by else "sum"
    return f"{total} ({rate(f'{name}_sum')}) / {total} ({rate(f'{name}_count')})"


def process(name: str) -> str:
    """Of our processes: every program that Prometheus scrapes has metrics of this name."""
    return f"{name} and on (job, instance) {ours('build_info')}"


def steps(*bounds: tuple[float | None, str]) -> dict[str, Any]:
    """Colours from each bound upwards; the first has none."""
    return {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in bounds]}


def panel(
    kind: str, title: str, why: str, asks: dict[str, str], *, unit: str = "short", **more: Any
) -> Panel:
    """`asks`: legend to query. `more`: custom and other field defaults, and "options",
    "overrides"."""
    instant = kind not in ("timeseries", "state-timeline")
    return {
        "type": kind,
        "title": title,
        "description": why,
        "datasource": SOURCE,
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expr, "legendFormat": legend, "instant": instant}
            | ({} if instant else {"range": True})
            for at, (legend, expr) in enumerate(asks.items())
        ],
        "options": more.pop("options", {}),
        "fieldConfig": {
            "overrides": more.pop("overrides", []),
            "defaults": {"unit": unit, **more},
        },
    }


def lines(title: str, why: str, asks: dict[str, str], **more: Any) -> Panel:
    """Over time; with `stacked`, on top of each other; with `limit`, a dashed line."""
    custom = {"lineWidth": 2, "fillOpacity": 10, "showPoints": "never", "spanNulls": 60_000}
    if more.pop("stacked", False):
        custom |= {"stacking": {"mode": "normal"}, "fillOpacity": 40, "lineWidth": 1}
    if limit := more.pop("limit", None):
        more["thresholds"] = steps((None, "transparent"), (limit, RED))
        custom["thresholdsStyle"] = {"mode": "dashed"}
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "last"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, why, asks, min=0, custom=custom, options=options, **more)


def stat(title: str, why: str, asks: dict[str, str], *, name: bool = False, **more: Any) -> Panel:
    """One figure, or with `name` the legend's text."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "textMode": "name" if name else "value",
        "colorMode": "none" if name else "background",
        "graphMode": "none",
    }
    return panel("stat", title, why, asks, options=options, **more)


def bars(title: str, why: str, asks: dict[str, str], **more: Any) -> Panel:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "orientation": "horizontal",
        "displayMode": "basic",
    }
    return panel("bargauge", title, why, asks, min=0, options=options, **more)


def coloured(colours: dict[str, str]) -> list[dict[str, Any]]:
    """Overrides: legends that match a pattern, in a colour."""
    return [
        {
            "matcher": {"id": "byRegexp", "options": pattern},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for pattern, colour in colours.items()
    ]


def dashboard(rows: dict[str, Row]) -> dict[str, Any]:
    """Each row under its title, if it has one; panels from left to right, then in a new line."""
    panels: list[Panel] = []
    top = 0
    for title, row in rows.items():
        if title:
            panels.append({"type": "row", "title": title, "collapsed": False, "panels": [],
                           "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})  # fmt: skip
            top += 1
        left = height = 0
        for w, h, one in row:
            if left + w > 24:
                left, top = 0, top + height
            panels.append(one | {"gridPos": {"x": left, "y": top, "w": w, "h": h}})
            left, height = left + w, h
        top += height
    return {
        "uid": "marlinscribe",
        "title": "Marlinscribe",
        "tags": ["marlinscribe"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,  # the crosshair in all panels at once
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [INSTANCE]},
        "panels": [{"id": number, **one} for number, one in enumerate(panels, 1)],
    }


INSTANCE = {
    "name": "instance",
    "label": "Instance",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(marlinscribe_build_info, instance)", "refId": "instance"},
    "refresh": 2,  # when the time range changes: an instance of last week is found there
    "includeAll": True,
    "allValue": ".+",
    "multi": True,
    "current": {"text": "All", "value": "$__all"},
}
