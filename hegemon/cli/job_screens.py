"""Jobs as people see them in a terminal: a list, the dead letters, one job in full."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hegemon.cli.output import clean
from hegemon.cli.tables import Sheet, cell, status_cell
from hegemon.cli.times import relative, span
from hegemon.client import JobInfo

LOG_LINES_SHOWN = 20


def job_table(jobs: Sequence[JobInfo]) -> Sheet:
    """One line a job; queue and priority only where they are not everywhere the default."""
    now = datetime.now(UTC)
    with_queue = any(job.queue != "default" for job in jobs)
    with_priority = any(job.priority != 5 for job in jobs)
    columns = ["ID", "STATUS", "TYPE", *["QUEUE"] * with_queue, *["PRI"] * with_priority, "TRY", "WHEN"]
    sheet = Sheet(*columns, right=("PRI", "TRY"), flexible=("TYPE", "QUEUE"))
    for job in jobs:
        row = [cell(job.id), status_cell(job.status), cell(job.type)]
        row += [cell(job.queue)] * with_queue + [cell(job.priority)] * with_priority
        sheet.add(*row, cell(job.attempt), cell(relative(_latest(job), now)))
    return sheet


def dead_table(jobs: Sequence[JobInfo]) -> Sheet:
    """One line a dead letter, with why."""
    now = datetime.now(UTC)
    with_queue = any(job.queue != "default" for job in jobs)
    columns = ["ID", "TYPE", *["QUEUE"] * with_queue, "TRY", "FAILED", "WHY"]
    sheet = Sheet(*columns, right=("TRY",), flexible=("TYPE", "QUEUE", "WHY"))
    for job in jobs:
        failed = relative(job.completed_at or job.updated_at, now)
        row = [cell(job.id), cell(job.type), *[cell(job.queue)] * with_queue]
        sheet.add(*row, cell(job.attempt), cell(failed), cell(_why(job), "red"))
    return sheet


def detail(job: JobInfo) -> list[RenderableType]:
    """Everything about one job, the outcome first."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(job):
        grid.add_row(name, value)
    parts: list[RenderableType] = [grid]
    if job.error is not None and job.error.get("traceback"):
        parts += [Text("\ntraceback", style="bold"), _lines(str(job.error["traceback"]))]
    if job.history:
        parts += ["", _history(job)]
    if job.logs:
        parts += [Text("\nlog", style="bold"), *_log_lines(job.logs)]
    return parts


def _facts(job: JobInfo) -> Iterable[tuple[str, Text]]:
    now = datetime.now(UTC)
    yield "id", cell(job.id)
    yield "type", cell(job.type)
    yield "status", status_cell(job.status)
    if job.error is not None:
        yield "error", cell(_why(job), "red")
    if job.result is not None:
        yield "result", _json(job.result)
    yield "payload", _json(job.payload)
    if job.progress is not None:
        yield "progress", _json(job.progress)
    yield "queue", cell(f"{job.queue}, priority {job.priority}")
    allowed = "" if job.max_retries is None else f", {job.max_retries} retries allowed"
    yield "try", cell(f"{job.attempt}, {job.failures} failed{allowed}")
    if job.tags:
        yield "tags", cell(", ".join(job.tags))
    if job.idempotency_key is not None:
        yield "key", cell(job.idempotency_key)
    if job.request_id is not None:
        yield "request", cell(job.request_id)
    if job.node is not None:
        yield "node", cell(job.node)
    for name in ("created_at", "scheduled_at", "started_at", "completed_at", "expires_at"):
        moment: datetime | None = getattr(job, name)
        if moment is not None:
            label = name.removesuffix("_at")
            yield (
                label,
                cell(f"{moment.isoformat(timespec='milliseconds').replace('+00:00', 'Z')} ({relative(moment, now)})"),
            )


def _history(job: JobInfo) -> Sheet:
    sheet = Sheet(
        "TRY", "OUTCOME", "TOOK", "NODE", "STARTED", "ERROR", right=("TRY", "TOOK"), flexible=("NODE", "ERROR")
    )
    for attempt in job.history:
        took = "-"
        if attempt.started_at is not None and attempt.ended_at is not None:
            took = span((attempt.ended_at - attempt.started_at).total_seconds())
        sheet.add(
            cell(attempt.attempt),
            cell(attempt.outcome),
            cell(took),
            cell(attempt.node),
            cell(relative(attempt.started_at)),
            cell(attempt.error),
        )
    return sheet


def _log_lines(logs: Sequence[dict[str, Any]]) -> Iterable[Text]:
    for line in logs[-LOG_LINES_SHOWN:]:
        words = [str(value) for value in line.values() if value is not None]
        yield cell("  ".join(words))


def _why(job: JobInfo) -> str:
    error = job.error or {}
    return ": ".join(str(error[name]) for name in ("type", "message") if error.get(name)) or "-"


def _latest(job: JobInfo) -> datetime | None:
    """The moment that says most about the state: when it is due, or when it last changed."""
    if job.status in ("scheduled", "retrying") and job.scheduled_at is not None:
        return job.scheduled_at
    return job.completed_at or job.updated_at or job.created_at


def _json(value: Any) -> Text:
    # Letters are shown as letters, so that people read their own language; control characters stay escaped.
    return cell(json.dumps(value, ensure_ascii=False))


def _lines(text: str) -> Text:
    return Text("\n".join(clean(line) for line in text.splitlines()), style="bright_black")
