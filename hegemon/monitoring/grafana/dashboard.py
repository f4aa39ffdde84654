"""A dashboard as a value, and its JSON: rows of panels, flowed into Grafana's grid, and the variables that they use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hegemon.monitoring.grafana.panel import DATASOURCE, WIDTH, Panel, panel_json

# What narrows a panel's series down, by what is chosen at the top of the page.
CLUSTER: Final = 'cluster="$cluster"'
NODE: Final = f'{CLUSTER},node=~"$node"'
QUEUE: Final = f'{CLUSTER},queue=~"$queue"'
# As long as a scrape interval asks for: Grafana's own reckoning.
RATE: Final = "$__rate_interval"

_VARIABLES: Final[Mapping[str, tuple[str, str, bool]]] = {
    "cluster": ("Cluster", "label_values(hegemon_build_info, cluster)", False),
    "node": ("Node", "label_values(hegemon_build_info{" + CLUSTER + "}, node)", True),
    "queue": ("Queue", "label_values(hegemon_jobs_submitted_total{" + CLUSTER + "}, queue)", True),
}


@dataclass(frozen=True)
class Row:
    """Panels below one heading, side by side as long as they fit. Without a title, no heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """`name` is its file and its address. `variables`: node and queue, where its panels use them; there always are a
    data source and a cluster."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[str, ...] = ()
    span: str = "now-1h"

    @property
    def uid(self) -> str:
        """By which other pages link to it."""
        return f"hegemon-{self.name}"

    def panels(self) -> Iterator[Panel]:
        """All of them, in reading order."""
        for row in self.rows:
            yield from row.panels


def dashboard_text(dashboard: Dashboard) -> str:
    """The content of its file."""
    return json.dumps(dashboard_json(dashboard), indent=2, ensure_ascii=False) + "\n"


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """In the schema of Grafana 10.1, which newer ones read."""
    return {
        "uid": dashboard.uid,
        "title": f"Hegemon / {dashboard.title}",
        "description": dashboard.description,
        "tags": ["hegemon"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": dashboard.span, "to": "now"},
        "links": [_others()],
        "annotations": {"list": [_elections()]},
        "templating": {"list": [_datasource(), *(_variable(name) for name in ("cluster", *dashboard.variables))]},
        "panels": list(_placed(dashboard)),
    }


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number = y = 0
    for row in dashboard.rows:
        if row.title:
            number += 1
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
            y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            number += 1
            yield panel_json(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Hegemon",
        "tags": ["hegemon"],
        "icon": "external link",
        "tooltip": "",
        "url": "",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _elections() -> dict[str, Any]:
    """A line through every panel where somebody took office: what else happened then is seen at once."""
    return {
        "name": "New leader",
        "datasource": dict(DATASOURCE),
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "expr": f"max by (cluster) (delta(hegemon_office_epoch{{{CLUSTER}}}[1m])) > 0",
        "step": "10s",
        "titleFormat": "New leader",
        "textFormat": "Somebody took office.",
    }


def _datasource() -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "hide": 0,
        "multi": False,
        "includeAll": False,
    }


def _variable(name: str) -> dict[str, Any]:
    label, query, many = _VARIABLES[name]
    found: dict[str, Any] = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": dict(DATASOURCE),
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": many,
        "includeAll": many,
    }
    # With a regular expression of its own, "All" also finds who comes later.
    return found | ({"allValue": ".*", "current": {"selected": True, "text": "All", "value": "$__all"}} if many else {})
