"""What `hegemon election` shows: the timeline of a failover, the verdict, the table of figures, advice."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from hegemon.cli.tables import Sheet, cell
from hegemon.cluster.election_trial import Round
from hegemon.cluster.trial_figures import Case, Figures
from hegemon.cluster.trial_load import Verdict

WIDTH = 100
_HOW = {"SIGKILL": "kill -9"}


def timeline(done: Round) -> list[Text]:
    """A leader's end and what followed, in milliseconds since then."""
    steps = [
        (0.0, f"{_HOW.get(done.how, done.how)} ends {done.leader}, which led in epoch {done.epoch_before}"),
        (done.detected_s, f"the others miss {done.leader}"),
        (done.elected_s, f"{done.successor} is elected"),
        (done.office_s, f"{done.successor} holds the office, in epoch {done.epoch_after}"),
        (done.dispatched_s, f"the first job that it dispatched begins, on {done.started_on}"),
    ]
    seen = sorted(((at, what) for at, what in steps if at is not None), key=lambda step: step[0])
    return [cell(f"{at * 1000:8,.0f} ms  {what}") for at, what in seen]


def verdict(found: Verdict) -> list[Text]:
    """What became of the jobs, in sentences."""
    lines = [cell(f"{found.acknowledged:,} jobs were acknowledged; {found.completed:,} are completed in MongoDB.")]
    if found.repeated:
        lines.append(cell(f"{found.repeated:,} of them ran when their node was killed, and ran again elsewhere."))
    if found.unanswered:
        lines.append(cell(f"{found.unanswered:,} submissions were never answered; those may be either way."))
    if found.holds:
        return [*lines, cell("Every acknowledged job was completed exactly once.", "bold green")]
    if found.lost:
        lines.append(cell(f"{len(found.lost):,} LOST: {_some(found.lost)}", "bold red"))
    if found.again:
        lines.append(cell(f"{len(found.again):,} RUN AGAIN after they were recorded: {_some(found.again)}", "bold red"))
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def figures(cases: Sequence[Case]) -> Sheet:
    """One row for each algorithm and size: milliseconds, messages per second, needless elections."""
    columns = (
        *("ALGORITHM", "NODES", "KILLS", "DETECTED P50", "DISPATCH P50", "P99", "MAX", "GAP MAX"),
        *("MESSAGES/S", "NEEDLESS", "LOST", "AGAIN"),
    )
    sheet = Sheet(*columns, right=columns[1:])
    for case in cases:
        found = Figures.of(case.rounds)
        sheet.add(
            cell(case.algorithm, "bold"),
            cell(case.nodes),
            cell(len(case.rounds)),
            *(_ms(value) for value in (found.detected_p50, found.dispatched_p50, found.dispatched_p99)),
            *(_ms(value) for value in (found.dispatched_max, found.gap_max)),
            cell("-" if case.calm.messages_per_s is None else f"{case.calm.messages_per_s:,.0f}"),
            cell(f"{case.calm.changes} in {case.calm.seconds:.0f} s"),
            cell(len(case.verdict.lost), "bold red" if case.verdict.lost else ""),
            cell(len(case.verdict.again), "bold red" if case.verdict.again else ""),
        )
    return sheet


def _ms(seconds: float | None) -> Text:
    return cell("-" if seconds is None else f"{seconds * 1000:,.0f} ms")


def advice(told: dict[str, Any]) -> list[RenderableType]:
    """An algorithm's page."""
    parts: list[RenderableType] = [cell(told["title"], "bold"), *_wrapped(told["description"]), ""]
    for heading, key in (("Take it when", "when_to_use"), ("Not when", "when_not")):
        parts += [cell(heading, "bold"), *(line for each in told[key] for line in _wrapped(each, "- ")), ""]
    parts.append(
        cell(
            f"{told['nodes']} nodes: {told['quorum']} must reach each other, {told['failures_tolerated']} may be down.",
            "bold" if told["suits"] else "yellow",
        )
    )
    parts += [cell(f"  {name}={value}") for name, value in told["settings"].items()]
    parts.append(cell("Far apart (between continents):", "bold"))
    parts += [
        cell(f"  {name}={told['wan'][name]}") for name in told["wan"] if told["wan"][name] != told["settings"].get(name)
    ]
    return [*parts, "", *(line for each in told["notes"] for line in _wrapped(each))]


def _wrapped(text: str, bullet: str = "") -> list[Text]:
    lines = textwrap.wrap(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
    return [cell(line) if not line.startswith(" ") else Text(line) for line in lines]
