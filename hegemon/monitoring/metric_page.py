"""Writes docs/metrics.md from the table of metrics: `python -m hegemon.monitoring.metric_page docs/metrics.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from hegemon.cluster.figures import DEPTH_S, FRESH_MS
from hegemon.cluster.stat_shapes import LONG_S, SAMPLE_S, SHORT_S
from hegemon.measures import SERIES_MAX
from hegemon.monitoring.metric_table import COMMON, FAMILIES, LABELS, Family

_INTRODUCTION: Final = """\
# Metrics

Written by `python -m hegemon.monitoring.metric_page docs/metrics.md` from the table in
`hegemon/monitoring/metric_table.py`; do not edit.

Every node serves them under `/metrics` of its API (roles viewer, user and admin, unless bound to queues), and without
credentials on METRICS_PORT, which belongs into a network of its own. METRICS_ENABLED turns both off. The format is
Prometheus' text, or OpenMetrics for a scraper that asks for it.

A scrape reads what the node counts anyway: it asks no store, and answers while both are away. Each node speaks for
itself and its worker processes, so that a cluster's figure is the `sum` over its nodes; the depth and age of queues
come from the active leader alone. Counters begin at 0 with the node's start, and never fall while it lives, whatever
its worker processes do: what those count lies in memory that outlives them. Names have the prefix `hegemon_`, units
are seconds and bytes. Families may be added.
"""


def metrics_page() -> str:
    """The content of docs/metrics.md."""
    used = {label for family in FAMILIES.values() for label in family.labels}
    lines = [_INTRODUCTION, "## Labels", "", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {words} |" for label, words in LABELS.items() if label in used or label in COMMON]
    names = " and ".join(f"`{label}`" for label in COMMON)
    lines += [
        "",
        f"Every series has {names}. No label holds a job's id; a node has at most {SERIES_MAX + 1} values of `queue`.",
        "",
        "## Families",
        "",
        "| name | kind | labels | what it says | where it comes from |",
        "|---|---|---|---|---|",
        *(_row(family) for family in FAMILIES.values()),
        "",
        "## Buckets",
        "",
        "| histogram | upper ends |",
        "|---|---|",
        *(
            f"| `{family.name}` | {', '.join(f'{bound:g}' for bound in family.bounds)} |"
            for family in FAMILIES.values()
            if family.bounds
        ),
        "",
        *_figures(),
    ]
    return "\n".join(lines) + "\n"


# What of GET /api/v1/stats, where it comes from, and how old it may be.
_FIGURES: Final = (
    ("`jobs`", "MongoDB, counted by status", "1 s"),
    ("`queue`", "Redis, the whole index", "as of now"),
    (
        "`figures.counters`, `rates`",
        f"all nodes' counters; over the last {SHORT_S} and {LONG_S} s",
        f"{SAMPLE_S:g} s, of the asked node as of now",
    ),
    (
        "`figures.wait`, `processing`, `lateness`",
        f"all nodes' histograms, what came into them in the last {LONG_S} s; exact to the width of a bucket",
        f"{SAMPLE_S:g} s",
    ),
    (
        "`figures.queues`: depths and `oldest_age_s`",
        "the active leader, who asks Redis",
        f"{DEPTH_S:g} s and {SAMPLE_S:g} s; `depth_age_s` says it",
    ),
    ("`figures.nodes`", "each node of itself", f"`age_s` says it; {FRESH_MS / 1000:g} s at most"),
    ("`figures.missing`", "members that live and are in none of these figures", "as of now"),
)


def _figures() -> list[str]:
    """The figures of the API, which are read from the same counters."""
    return [
        "## The same, without Prometheus",
        "",
        "`GET /api/v1/stats` answers for the whole cluster, whichever node is asked; the dashboard draws it. Each node",
        f"samples itself every {SAMPLE_S:g} s and leaves its figures in Redis, where the others find them.",
        "",
        "| figure | where it comes from | how old it may be |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in _FIGURES),
    ]


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    source = f"{family.source}; **the active leader alone**" if family.leader else family.source
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help} | {source} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(metrics_page(), encoding="utf-8")
