"""What `hegemon top` knows and how it is set: answers come in, keys change the view, and what is old says so. Neither
asking nor drawing."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hegemon.cli.cluster_poll import State, urls_in

HISTORY: Final = 240
# Older than that, an answer is marked.
STALE_S: Final = 5.0
PAGE: Final = 10
PANES: Final = ("nodes", "queues", "events")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """One way to sort a pane: the heading of the column, and how large a row is by it; the largest first."""

    heading: str
    size: Callable[[Row], Any]
    largest_first: bool = True


def natural(name: object) -> list[tuple[bool, int, str]]:
    """The order in which n10 comes after n9."""
    parts = re.findall(r"[0-9]+|[^0-9]+", str(name))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def done(row: Row) -> float:
    """Completed jobs a second, over ten seconds."""
    return float(row.get("rates", {}).get("completed", {}).get("last_10s", -1.0))


ORDERS: Final[Mapping[str, Sequence[Order]]] = {
    "nodes": (
        Order("NODE", lambda row: natural(row["id"]), largest_first=False),
        Order("DONE/S", done),
        Order("BUSY", lambda row: row.get("busy", -1)),
        Order("LAG", lambda row: row.get("loop_lag_ms", -1.0)),
    ),
    "queues": (
        Order("QUEUE", lambda row: natural(row["name"]), largest_first=False),
        Order("READY", lambda row: row.get("ready") or 0),
        Order("OLDEST", lambda row: row.get("oldest_age_s") or 0.0),
        Order("DONE/S", done),
    ),
    "events": (Order("AT", lambda row: row["at"]),),
}


@dataclass
class View:
    """How one pane is shown."""

    order: int = 0
    turned: bool = False
    first: int = 0


@dataclass
class Top:
    """All of it. `urls` is whom to ask, the last one that answered first; times are monotonic seconds."""

    urls: list[str]
    state: State | None = None
    seen_s: float = 0.0
    silent: bool = False
    paused: bool = False
    focus: str = PANES[0]
    views: dict[str, View] = field(default_factory=lambda: {name: View() for name in PANES})
    done: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def saw(self, found: tuple[str, State] | None, now_s: float) -> None:
        """Take one round's answer; None if nobody gave one."""
        self.silent = found is None
        if found is None:
            return
        url, self.state = found
        self.seen_s = now_s
        others = [each for each in (*urls_in(self.state), *self.urls) if each != url]
        self.urls = [url, *dict.fromkeys(others)]
        if "rates" in self.figures:
            self.done.append(done(self.figures))

    def press(self, key: str) -> bool:
        """A key; whether it ends it all."""
        view = self.views[self.focus]
        match key:
            case "q" | "":
                return True
            case "p" | " ":
                self.paused = not self.paused
            case "tab" | "back-tab":
                step = 1 if key == "tab" else -1
                self.focus = PANES[(PANES.index(self.focus) + step) % len(PANES)]
            case "s":
                view.order, view.turned = (view.order + 1) % len(ORDERS[self.focus]), False
            case "r":
                view.turned = not view.turned
            case "down" | "j" | "up" | "k" | "page-down" | "page-up":
                step = {"down": 1, "j": 1, "up": -1, "k": -1, "page-down": PAGE, "page-up": -PAGE}[key]
                view.first = min(max(view.first + step, 0), max(len(self.rows(self.focus)) - 1, 0))
        return False

    @property
    def figures(self) -> State:
        """The cluster's figures; empty while there are none, as of a node of an older version."""
        found: State = ((self.state or {}).get("stats") or {}).get("figures") or {}
        return found

    def age_s(self, now_s: float) -> float:
        """How old the shown answer is."""
        return max(now_s - self.seen_s, 0.0)

    def order(self, pane: str) -> Order:
        """How a pane is sorted."""
        return ORDERS[pane][self.views[pane].order]

    def rows(self, pane: str) -> list[State]:
        """A pane's rows, sorted."""
        if self.state is None:
            return []
        found = {"nodes": self._nodes, "queues": self._queues, "events": self._events}[pane](self.state)
        order = self.order(pane)
        return sorted(found, key=order.size, reverse=order.largest_first != self.views[pane].turned)

    def _nodes(self, state: State) -> list[State]:
        """Whoever the election, the index or the figures know."""
        merged: dict[str, State] = {}
        for node in sorted(state["nodes"], key=lambda node: bool(node.get("alive"))):
            merged[node["id"]] = {"alive": node.get("alive"), "url": node.get("url"), "version": node.get("version")}
            merged[node["id"]] |= {"slots": node.get("slots"), "busy": node.get("held")}
        for member in state["election"].get("members") or ():
            known = {name: member.get(name) for name in ("health", "fit", "url", "version") if member.get(name)}
            merged[member["id"]] = merged.get(member["id"], {}) | known
        for figures in self.figures.get("nodes", ()):
            merged[figures["id"]] = merged.get(figures["id"], {}) | figures
        leader = state["leader"].get("leader_id")
        return [row | {"id": name, "leads": name == leader} for name, row in merged.items()]

    def _queues(self, state: State) -> list[State]:
        del state
        return list(self.figures.get("queues", ()))

    def _events(self, state: State) -> list[State]:
        return list((state.get("activity") or {}).get("events", ()))

    def verdicts(self, now_s: float) -> list[tuple[str, str]]:
        """What is wrong, worst first, as (style, sentence); one if nothing is. The dashboard says the same."""
        if self.state is None:
            return [("", "Looking at the cluster…")]
        found: list[tuple[str, str]] = []
        if self.silent:
            asked = ", ".join(self.urls)
            found.append(("bold red", f"No node answers for {self.age_s(now_s):.0f} s; asked {asked}"))
        elif not self.paused and self.age_s(now_s) > STALE_S:
            found.append(("bold yellow", f"STALE: the answer is {self.age_s(now_s):.0f} s old"))
        members = self.state["election"].get("members") or ()
        if self.state["leader"].get("leader_id") is None:
            found.append(("bold red", "Nobody leads"))
        for health, style, verb in (("dead", "bold red", "lost"), ("suspect", "yellow", "suspect")):
            names = sorted((member["id"] for member in members if member.get("health") == health), key=natural)
            if names:
                found.append((style, f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {verb}"))
        parked = self.state["stats"].get("queue", {}).get("parked") or {}
        found += [("yellow", f"{count:,} of type {name} wait for a worker") for name, count in parked.items()]
        if self.figures.get("rates", {}).get("failed", {}).get("last_60s", 0.0) > 0:
            found.append(("yellow", "jobs have failed within the last minute"))
        if self.figures.get("missing"):
            found.append(("yellow", f"no figures of {', '.join(self.figures['missing'])}"))
        if not found:
            alive = sum(member.get("health") == "alive" for member in members)
            ready = self.state["stats"].get("queue", {}).get("ready", 0)
            leads = f"{self.state['leader']['leader_id']} leads {alive} node{'s' if alive != 1 else ''}"
            found = [("green", f"All is well: {leads}. {f'{ready:,} ready to run' if ready else 'Nothing waits'}.")]
        return found
