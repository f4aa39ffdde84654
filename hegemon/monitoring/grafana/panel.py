"""A panel as a value, and its JSON. What all panels look like is decided here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 24
DATASOURCE: Final[Mapping[str, str]] = {"type": "prometheus", "uid": "${datasource}"}

# Grafana's own palette: it looks right on its dark and its light theme.
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "#8e8e8e"


@dataclass(frozen=True)
class Query:
    """`legend` may use labels, as {{node}}. Of a table, the name of its column."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """What is shown, and how.

    `kind`: stat, timeseries, state-timeline, bargauge or table. `unit`: one of Grafana's (s, reqps, percentunit).
    `steps`: colours from a value on, the first one from everywhere. `texts`: words in place of values, with their
    colours. `colours`: of series, by legend. `empty`: what a stat says without data. `of_names`: a stat that shows the
    legend instead of the value. `limits`: whether the steps are drawn as lines. `units`
    and `words`: of a table's columns, those like `unit` and `texts`.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    decimals: int | None = None
    least: float | None = 0
    most: float | None = None
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    texts: tuple[tuple[float, str, str], ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    stacked: bool = False
    limits: bool = False
    bars: bool = False
    empty: str = "no data"
    of_names: bool = False
    units: tuple[tuple[str, str], ...] = ()
    words: tuple[tuple[str, tuple[tuple[float, str, str], ...]], ...] = ()
    link: str = ""


def panel_json(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    """The panel of a dashboard, at its place in the grid."""
    found: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": dict(DATASOURCE),
        "gridPos": dict(place),
        "targets": [_target(panel, query, i) for i, query in enumerate(panel.queries)],
        "options": _OPTIONS[panel.kind](panel),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
    }
    if panel.link:
        found["links"] = [{"title": "More", "url": panel.link, "targetBlank": False}]
    if panel.kind == "table":
        found["transformations"] = _columns(panel)
    return found


def _target(panel: Panel, query: Query, number: int) -> dict[str, Any]:
    now = panel.kind in {"stat", "bargauge", "table"}
    return {
        "refId": chr(ord("A") + number),
        "datasource": dict(DATASOURCE),
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "editorMode": "code",
        "format": "table" if panel.kind == "table" else "time_series",
        "instant": now,
        "range": not now,
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in panel.steps]},
        "mappings": _mappings(panel.texts),
        "custom": _custom(panel),
    }
    if panel.kind == "stat":
        found["noValue"] = panel.empty
    bounds = {"min": panel.least, "max": panel.most} if panel.kind in {"timeseries", "bargauge"} else {}
    return found | {name: value for name, value in (bounds | {"decimals": panel.decimals}).items() if value is not None}


def _mappings(texts: tuple[tuple[float, str, str], ...]) -> list[dict[str, Any]]:
    options = {
        f"{value:g}": {"text": text, "color": colour, "index": i} for i, (value, text, colour) in enumerate(texts)
    }
    return [{"type": "value", "options": options}] if options else []


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    found = [_override(name, "color", {"mode": "fixed", "fixedColor": colour}) for name, colour in panel.colours]
    found += [_override(name, "unit", unit) for name, unit in panel.units]
    for name, texts in panel.words:
        coloured = {"id": "custom.cellOptions", "value": {"type": "color-text"}}
        found.append(_override(name, "mappings", _mappings(texts), coloured))
    return found


def _override(name: str, what: str, value: Any, *more: dict[str, Any]) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": what, "value": value}, *more]}


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """One row a node: the queries are joined by that label, and all other labels are left out."""
    names = {"node": "Node"} | {f"Value #{chr(ord('A') + i)}": query.legend for i, query in enumerate(panel.queries)}
    order = {name: i for i, name in enumerate(names)}
    return [
        {"id": "joinByField", "options": {"byField": "node", "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}},
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": names}},
    ]


def _stat(panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "textMode": "name" if panel.of_names else "auto",
        "colorMode": "background_solid" if panel.of_names else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
    }


def _curves(panel: Panel) -> dict[str, Any]:
    return {
        "legend": {
            "displayMode": "table" if panel.height > 6 else "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"] if panel.height > 6 else [],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _timeline(panel: Panel) -> dict[str, Any]:
    del panel
    return {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }


def _bargauge(panel: Panel) -> dict[str, Any]:
    del panel
    return {
        "displayMode": "gradient",
        "valueMode": "color",
        "orientation": "horizontal",
        "showUnfilled": True,
        "minVizWidth": 0,
        "minVizHeight": 10,
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
    }


def _table(panel: Panel) -> dict[str, Any]:
    del panel
    footer = {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}
    return {"showHeader": True, "cellHeight": "sm", "footer": footer}


def _custom(panel: Panel) -> dict[str, Any]:
    """What only this kind of panel has for its series."""
    if panel.kind == "timeseries":
        return _drawn(panel)
    if panel.kind == "state-timeline":
        return {"lineWidth": 0, "fillOpacity": 80}
    if panel.kind == "table":
        return {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return {}


def _drawn(panel: Panel) -> dict[str, Any]:
    return {
        "drawStyle": "bars" if panel.bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 60 if panel.bars else 30 if panel.stacked else 0 if panel.least is None else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "pointSize": 5,
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
    }


_OPTIONS: Final = {
    "stat": _stat,
    "timeseries": _curves,
    "state-timeline": _timeline,
    "bargauge": _bargauge,
    "table": _table,
}
