"""Rules as values, and how they become a file for Prometheus. A time scale makes the same rules fast, for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

UNITS_MS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LENGTH: Final = re.compile(r"^(\d+)(ms|s|m|h|d)$")
_RANGE: Final = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")


@dataclass(frozen=True)
class Recording:
    """A series that Prometheus computes itself."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """`expr` has to hold for the time `hold` (as "30s") until the alert fires.

    `summary` is one line, `description` says more; both may use the labels that the expression leaves, as
    `{{ $labels.node }}`, and `{{ $value }}`. Alerts of one name share a runbook: docs/runbooks/NAME.md.
    """

    name: str
    expr: str
    hold: str
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


Rule = Recording | Alert


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated one after the other, in this order."""

    name: str
    rules: tuple[Rule, ...]


def shortened(length: str, scale: float) -> str:
    """A duration of PromQL times `scale`, at least 1 ms."""
    found = _LENGTH.match(length)
    if found is None:
        raise ValueError(f"{length!r} is no duration")
    if scale == 1:
        return length
    return f"{max(round(int(found[1]) * UNITS_MS[found[2]] * scale), 1)}ms"


def rescaled(expr: str, scale: float) -> str:
    """The expression with all its ranges times `scale`."""
    return _RANGE.sub(lambda found: f"[{shortened(found[1], scale)}]", expr)


def rule_file(groups: Iterable[Group], *, head: str, runbooks: str, scale: float = 1.0) -> str:
    """The YAML text. `runbooks` is put before the names of their pages; `scale` is 1 but for tests, which have no
    minute to wait until an alert fires."""
    lines = [*(f"# {line}".rstrip() for line in head.splitlines()), "groups:"]
    for group in groups:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            lines += _recording(rule, scale) if isinstance(rule, Recording) else _alert(rule, scale, runbooks)
    return "\n".join(lines) + "\n"


def _recording(rule: Recording, scale: float) -> list[str]:
    return [f"      - record: {rule.name}", *_expr(rule.expr, scale), *_map("labels", rule.labels)]


def _alert(rule: Alert, scale: float, runbooks: str) -> list[str]:
    annotations = {
        "summary": rule.summary,
        "description": rule.description,
        "runbook_url": f"{runbooks}{rule.name}.md",
    }
    return [
        f"      - alert: {rule.name}",
        *_expr(rule.expr, scale),
        f"        for: {shortened(rule.hold, scale)}",
        *_map("labels", {"severity": rule.severity, **rule.labels}),
        *_map("annotations", annotations),
    ]


def _expr(expr: str, scale: float) -> list[str]:
    return ["        expr: |-", *(f"          {line}" for line in rescaled(expr, scale).splitlines())]


def _map(name: str, values: Mapping[str, str]) -> list[str]:
    # A JSON string is a string of YAML.
    found = [f"          {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return [f"        {name}:", *found] if found else []
