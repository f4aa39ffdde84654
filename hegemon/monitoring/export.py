"""Writes what is made by code for Prometheus and Grafana: `python -m hegemon.monitoring.export`, in a source tree.

The files lie beside their tables and are part of the package, so that whoever installed it has them, too. The tables of
alerts and objectives in docs/monitoring.md, and the heads of the runbooks, are written as well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hegemon.monitoring.grafana.dashboard import dashboard_text
from hegemon.monitoring.grafana.pages import DASHBOARDS
from hegemon.monitoring.prometheus.alerts import all_alerts, groups
from hegemon.monitoring.prometheus.objectives import OBJECTIVES, recordings
from hegemon.monitoring.prometheus.rule import Alert, rule_file
from hegemon.monitoring.prometheus.scrape import EXAMPLE, prometheus_file

HERE: Final = Path(__file__).resolve().parent
# Before the name of a runbook. Whoever serves the pages somewhere gives its address to `hegemon monitoring export`.
RUNBOOKS: Final = "docs/runbooks/"
_BY_HAND: Final = (
    "prometheus/alertmanager.yml",
    "grafana/provisioning/datasources/hegemon.yml",
    "grafana/provisioning/dashboards/hegemon.yml",
)
_WRITTEN: Final = "Written by `python -m hegemon.monitoring.export`; do not edit."


def alert_file(*, scale: float = 1.0, runbooks: str = RUNBOOKS) -> str:
    """alerts.yml. `scale` shortens all times, for tests."""
    head = f"Alerts of Hegemon. {_WRITTEN}"
    return rule_file(groups(), head=head, runbooks=runbooks, scale=scale)


def recording_file(*, scale: float = 1.0) -> str:
    """rules.yml. The alerts on objectives need it."""
    head = f"Recording rules of Hegemon. {_WRITTEN}"
    return rule_file((recordings(),), head=head, runbooks=RUNBOOKS, scale=scale)


def generated(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """All files that are made by code, by their path below hegemon/monitoring."""
    pages = {f"grafana/dashboards/{one.name}.json": dashboard_text(one) for one in DASHBOARDS}
    rules = {"prometheus/rules.yml": recording_file(), "prometheus/alerts.yml": alert_file(runbooks=runbooks)}
    return pages | rules | {"prometheus/prometheus.yml": prometheus_file(EXAMPLE, "hegemon")}


def exported(targets: Sequence[str] | None, cluster: str, runbooks: str) -> dict[str, str]:
    """What somebody needs who runs Prometheus and Grafana of their own, by path."""
    found = generated(runbooks) | {"prometheus/prometheus.yml": prometheus_file(targets or EXAMPLE, cluster)}
    for name in _BY_HAND:
        found[name] = (HERE / name).read_text(encoding="utf-8")
    return found


def by_name() -> Iterator[tuple[str, list[Alert]]]:
    """Alerts that share a name, and so a runbook."""
    alerts = all_alerts()
    for name in dict.fromkeys(one.name for one in alerts):
        yield name, [one for one in alerts if one.name == name]


def alert_table() -> str:
    """For docs/monitoring.md."""
    lines = ["| alert | severity | fires when |", "|---|---|---|"]
    for name, same in by_name():
        severities = ", ".join(dict.fromkeys(one.severity for one in same))
        summary = _words(same[0].summary)
        if "slo" in same[0].labels:  # one for each objective, by its title
            summary = f"*slo*:{summary.partition(':')[2]}"
        lines.append(f"| [`{name}`](runbooks/{name}.md) | {severities} | {summary} |")
    return "\n".join(lines)


def objective_table() -> str:
    """For docs/monitoring.md."""
    lines = ["| `slo` | objective | may go wrong |", "|---|---|---|"]
    lines += [f"| `{one.name}` | {one.promise} | {one.budget * 100:g}% |" for one in OBJECTIVES]
    return "\n".join(lines)


def runbook_head(same: list[Alert]) -> str:
    """What is measured, for the top of a runbook."""
    lines = ["| severity | holds for | expression |", "|---|---|---|"]
    for one in same:
        expression = " ".join(one.expr.split()).replace("|", "\\|")
        lines.append(f"| {one.severity} | {one.hold} | `{expression}` |")
    return "\n".join(lines)


def renewed(text: str, name: str, part: str) -> str:
    """The page with what stands between its marks `<!-- name -->` and `<!-- /name -->` written anew."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"there is no place for {name}")
    return pattern.sub(lambda found: f"{found[1]}\n{part}\n\n{found[2]}", text)


def documents(docs: Path) -> Iterator[tuple[Path, str]]:
    """The pages of docs/ that hold something of this, and what they should be."""
    page = docs / "monitoring.md"
    text = renewed(page.read_text(encoding="utf-8"), "alerts", alert_table())
    yield page, renewed(text, "objectives", objective_table())
    for name, same in by_name():
        page = docs / "runbooks" / f"{name}.md"
        yield page, renewed(page.read_text(encoding="utf-8"), "alert", runbook_head(same))


def _words(summary: str) -> str:
    """A summary without its template."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", re.sub(r"\{\{ \$value.*?\}\}", "*n*", summary))


def main() -> None:
    """Write all of it; the pages only where there is a docs directory beside the package."""
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")
    docs = HERE.parents[1] / "docs"
    if docs.is_dir():
        for page, text in documents(docs):
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
