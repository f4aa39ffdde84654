"""SLOs: what is promised, how much of what may go wrong is left, and how fast it goes. By the recorded error ratios."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hegemon.monitoring.grafana.dashboard import CLUSTER, Dashboard, Row
from hegemon.monitoring.grafana.panel import GREEN, ORANGE, RED, YELLOW, Panel, Query
from hegemon.monitoring.prometheus.objectives import OBJECTIVES, Objective, errors_of


def _now(one: Objective) -> Iterator[Panel]:
    selector = f'{{{CLUSTER},slo="{one.name}"}}'
    yield Panel(
        title=one.title,
        description=f"{one.promise} Here: the share that went well in the last three days.",
        queries=(Query(f"1 - {errors_of('3d')}{selector}"),),
        kind="stat",
        unit="percentunit",
        decimals=2 if one.target > 0.99 else 1,
        steps=((None, RED), (one.target, GREEN)),
        width=6,
        height=4,
    )


def _budget(one: Objective) -> Iterator[Panel]:
    selector = f'{{{CLUSTER},slo="{one.name}"}}'
    yield Panel(
        title="Budget left",
        description=f"Of what may go wrong in three days at {one.target * 100:g}%, what is left. 0%: used up.",
        queries=(Query(f"clamp_min(1 - {errors_of('3d')}{selector} / {one.budget:g}, 0)"),),
        kind="bargauge",
        unit="percentunit",
        most=1,
        steps=((None, RED), (0.25, YELLOW), (0.5, GREEN)),
        width=6,
        height=3,
    )


def _burn(one: Objective) -> Iterator[Panel]:
    selector = f'{{{CLUSTER},slo="{one.name}"}}'
    windows = ("5m", "1h", "6h")
    yield Panel(
        title=f"{one.title}: burn rate",
        description="How many times faster than allowed the budget is used up; 1 uses up a month's in a month. The "
        "lines: where alerts begin. It is cut off at 20.",
        queries=tuple(Query(f"{errors_of(window)}{selector} / {one.budget:g}", window) for window in windows),
        steps=((None, GREEN), (1, YELLOW), (6, ORANGE), (14.4, RED)),
        most=20,
        limits=True,
        width=12,
    )


OBJECTIVES_PAGE: Final = Dashboard(
    name="slos",
    title="SLOs",
    description="What is promised, how much of what may go wrong is left, and how fast it goes.",
    rows=(
        Row("", tuple(panel for part in (_now, _budget) for one in OBJECTIVES for panel in part(one))),
        Row("How fast it goes", tuple(panel for one in OBJECTIVES for panel in _burn(one))),
    ),
    span="now-6h",
)
