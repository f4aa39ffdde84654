"""The state of a cluster on one screen: who leads, who is there, what waits and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hegemon.cli.tables import STATUS_STYLES, Sheet, cell
from hegemon.cli.times import parsed, relative
from hegemon.cli.top_model import natural

State = dict[str, Any]


Views = Mapping[str, State | None]


def screen(state: State, views: Views) -> list[RenderableType]:
    """`state` holds the replies of cluster, leader, election, nodes, workers and stats; `views` each node's own
    election by its URL, None where it did not answer."""
    parts: list[RenderableType] = [head(state), "", node_table(state, views)]
    if state["workers"]:
        parts += ["", _workers(state["workers"])]
    parts += ["", job_counts(state["stats"]), "", depth(state["stats"])]
    parked = state["stats"].get("queue", {}).get("parked") or {}
    if parked:
        parts += ["", _parked(parked)]
    return parts


def head(state: State) -> Table:
    """Who leads, by which algorithm, and who says so."""
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


def node_table(state: State, views: Views) -> Sheet:
    """One row a node: those that the index knows, and members that only the election knows."""
    right = ("TERM", "EPOCH", "BUSY", "SLOTS")
    sheet = Sheet(
        *("NODE", "ROLE", "STATE", "TERM", "EPOCH", "BUSY", "SLOTS", "VERSION", "STARTED", "URL"),
        right=right,
        flexible=("STARTED",),
    )
    leader = state["leader"].get("leader_id")
    members = {member["id"]: member for member in state["election"].get("members") or ()}
    rows = {node.get("id"): node for node in sorted(state["nodes"], key=lambda node: bool(node.get("alive")))}
    for name in sorted({*rows, *members}, key=natural):
        node, member = rows.get(name, {}), members.get(name, {})
        url = node.get("url") or member.get("url")
        view = views.get(url) if url else None
        sheet.add(
            cell(f"{name} *" if name == leader else name, "bold green" if name == leader else ""),
            _role(name, leader, view),
            _standing(node, member, url in views and view is None),
            cell(view.get("term") if view else None),
            cell(view.get("epoch") if view else None),
            cell(node.get("held", member.get("load"))),
            cell(node.get("slots", member.get("slots"))),
            cell(node.get("version") or member.get("version")),
            cell(relative(parsed(node.get("started_at")))),
            cell(url),
        )
    return sheet


def _role(name: str, leader: str | None, view: State | None) -> Text:
    """What the node says it is; what the office says where it does not answer."""
    if view is None:
        return cell("leader" if name == leader else None, "yellow")
    role = str(view.get("role"))
    if role == "leader" and not view.get("active"):
        return cell("leader, paused" if name == leader else "believes to lead", "yellow")
    return cell(role, "bold green" if role == "leader" else "")


def _standing(node: State, member: State, mute: bool) -> Text:
    """How it is: the election's word if it has one, else the index's, and whether it answers us."""
    health = member.get("health") or ("alive" if node.get("alive") else "silent")
    if health == "alive" and mute:
        return cell("no answer", "yellow")
    if health == "alive" and not member.get("fit", True):
        return cell("without a store", "yellow")
    return cell(health, {"alive": "green", "suspect": "yellow"}.get(health, "red"))


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


def job_counts(stats: State) -> Sheet:
    """How many jobs have each status."""
    counts = stats.get("jobs", {})
    names = [*STATUS_STYLES, *(name for name in counts if name not in STATUS_STYLES)]
    titles = [name.upper() for name in names]
    sheet = Sheet(*titles, right=titles)
    sheet.add(*(cell(f"{counts.get(name, 0):,}", STATUS_STYLES.get(name, "")) for name in names))
    return sheet


def depth(stats: State) -> Text:
    """What the index holds."""
    queue = stats.get("queue", {})
    counts = ", ".join(f"{queue.get(name, 0):,} {name}" for name in ("ready", "delayed", "held"))
    return Text.assemble(("queue depth  ", "bold"), cell(counts))


def _parked(parked: dict[str, int]) -> Text:
    kinds = ", ".join(f"{count:,} of type {name}" for name, count in parked.items())
    return cell(f"waiting for a worker that handles their type: {kinds}", "yellow")
