"""The state of a cluster on one screen: who leads, who is there, what waits and what was done."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hegemon.cli.tables import STATUS_STYLES, Sheet, cell
from hegemon.cli.times import parsed, relative

State = dict[str, Any]


def screen(state: State) -> list[RenderableType]:
    """`state` holds the replies of cluster, leader, election, nodes, workers and stats."""
    parts: list[RenderableType] = [_head(state), "", _nodes(state["nodes"])]
    if state["workers"]:
        parts += ["", _workers(state["workers"])]
    parts += ["", _jobs(state["stats"]), "", _depth(state["stats"])]
    parked = state["stats"].get("queue", {}).get("parked") or {}
    if parked:
        parts += ["", _parked(parked)]
    return parts


def _head(state: State) -> Table:
    cluster, leader, election = state["cluster"], state["leader"], state["election"]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    leader_id = leader.get("leader_id")
    led = cell("nobody: no office is held just now", "red")
    if leader_id is not None:
        led = Text.assemble(cell(leader_id, "bold green"), cell(f" (epoch {leader.get('epoch')})"))
        if leader.get("url"):
            led.append_text(cell(f" {leader['url']}"))
    grid.add_row("cluster", cell(f"{cluster.get('cluster_id')}, hegemon {cluster.get('version')}"))
    grid.add_row("leader", led)
    algorithm = election.get("current_algorithm") or cluster.get("algorithm")
    grid.add_row("election", cell(f"{algorithm}, term {election.get('term')}"))
    grid.add_row("strategy", cell(cluster.get("strategy")))
    grid.add_row("answers", cell(cluster.get("node_id")))
    return grid


def _nodes(nodes: list[State]) -> Sheet:
    sheet = Sheet(
        *("NODE", "STATE", "ROLE", "BUSY", "SLOTS", "STARTED", "URL"), right=("BUSY", "SLOTS"), flexible=("STARTED",)
    )
    for node in nodes:
        alive = bool(node.get("alive"))
        sheet.add(
            cell(node.get("id")),
            cell("alive", "green") if alive else cell("silent", "red"),
            cell("leader", "bold green") if node.get("is_leader") else cell("member"),
            cell(node.get("held")),
            cell(node.get("slots")),
            cell(relative(parsed(node.get("started_at")))),
            cell(node.get("url")),
        )
    return sheet


def _workers(workers: list[State]) -> Sheet:
    sheet = Sheet(
        "WORKER", "NODE", "PID", "BUSY", "SLOTS", "TYPES", right=("PID", "BUSY", "SLOTS"), flexible=("TYPES",)
    )
    for worker in workers:
        name = f"{worker.get('id')}{' (alone with a suspect)' if worker.get('solo') else ''}"
        types = ", ".join(worker.get("types") or ())
        sheet.add(
            cell(name),
            cell(worker.get("node")),
            cell(worker.get("pid")),
            cell(worker.get("held")),
            cell(worker.get("slots")),
            cell(types),
        )
    return sheet


def _jobs(stats: State) -> Sheet:
    counts = stats.get("jobs", {})
    names = [*STATUS_STYLES, *(name for name in counts if name not in STATUS_STYLES)]
    titles = [name.upper() for name in names]
    sheet = Sheet(*titles, right=titles)
    sheet.add(*(cell(f"{counts.get(name, 0):,}", STATUS_STYLES.get(name, "")) for name in names))
    return sheet


def _depth(stats: State) -> Text:
    queue = stats.get("queue", {})
    counts = ", ".join(f"{queue.get(name, 0):,} {name}" for name in ("ready", "delayed", "held"))
    return Text.assemble(("queue depth  ", "bold"), cell(counts))


def _parked(parked: dict[str, int]) -> Text:
    kinds = ", ".join(f"{count:,} of type {name}" for name, count in parked.items())
    return cell(f"waiting for a worker that handles their type: {kinds}", "yellow")
