"""`hegemon cluster watch`: the cluster live, twice a second, and the changes of leadership as they happen.

What is known of the cluster (`Watching`) is apart from asking and drawing, so that a node's death is no special case:
the next one that has been heard of is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from hegemon.cli import cluster_poll
from hegemon.cli.cluster_poll import State, state_from, urls_in, views
from hegemon.cli.exits import for_refusal
from hegemon.cli.keys import pressed
from hegemon.cli.output import emit_line
from hegemon.client import ApiError

if TYPE_CHECKING:
    from rich.console import Group

EVERY_S: Final = 0.5
EVENTS_SHOWN: Final = 10


class Watching:
    """What has been seen so far. `urls` is whom to ask, the last one that answered first."""

    def __init__(self, url: str) -> None:
        self.urls = [url]
        self.state: State | None = None
        self.views: dict[str, State | None] = {}
        self.events: list[str] = []
        self.silent = False
        self._leader: str | None = None
        self._epoch = 0
        self._health: dict[str, str] = {}
        self._mute: set[str] = set()

    def saw(self, found: tuple[str, State] | None, seen: dict[str, State | None], now: datetime) -> list[str]:
        """Take one round of answers; the sentences about what changed, oldest first."""
        said: list[str] = []
        if found is None:
            if not self.silent:
                said.append(f"no node answers; asked {', '.join(self.urls)}")
            self.silent = True
        else:
            url, self.state = found
            if self.silent:
                said.append(f"{self.state['cluster'].get('node_id')} answers again")
            self.silent = False
            others = [each for each in (*urls_in(self.state), *self.urls) if each != url]
            self.urls = [url, *dict.fromkeys(others)]
            said += self._lead(self.state) + self._members(self.state) + self._answers(self.state, seen)
        self.views = seen
        lines = [f"{now:%H:%M:%S.%f}"[:-3] + f"  {sentence}" for sentence in said]
        self.events = [*self.events, *lines][-EVENTS_SHOWN:]
        return lines

    def _lead(self, state: State) -> list[str]:
        leader, epoch = state["leader"].get("leader_id"), int(state["leader"].get("epoch") or 0)
        # A node that lags behind the one asked before has old news.
        if (leader, epoch) == (self._leader, self._epoch) or epoch < self._epoch:
            return []
        before, first = self._leader, self._epoch == 0
        self._leader, self._epoch = leader, epoch
        if leader is None:
            return [f"nobody leads since {before} stepped down" if before else "nobody leads"]
        if first:
            return [f"{leader} leads in epoch {epoch}"]
        if leader == before:
            return [f"{leader} leads again, in epoch {epoch}"]
        return [f"{leader} leads in epoch {epoch}" + (f", after {before}" if before else "")]

    def _members(self, state: State) -> list[str]:
        now = {member["id"]: str(member["health"]) for member in state["election"].get("members") or ()}
        before, self._health = self._health, now
        if not before:
            return []
        said = [f"{name} is {health}" for name, health in sorted(now.items()) if before.get(name, health) != health]
        said += [f"{name} joined" for name in sorted(now.keys() - before.keys())]
        return said + [f"{name} is gone" for name in sorted(before.keys() - now.keys())]

    def _answers(self, state: State, seen: dict[str, State | None]) -> list[str]:
        """Who has fallen silent towards us, or speaks again; a node that is known to be dead is no news."""
        nodes = sorted(state["nodes"], key=lambda node: bool(node.get("alive")))  # of two with one URL the living one
        names = {str(node.get("url")).rstrip("/"): str(node["id"]) for node in nodes}
        now = {names[url] for url, view in seen.items() if view is None and url in names}
        back = {names[url] for url, view in seen.items() if view is not None and url in names} & self._mute
        new = now - self._mute
        self._mute = (self._mute | now) - back
        return [f"{name} does not answer" for name in sorted(new)] + [f"{name} answers again" for name in sorted(back)]

    def screen(self) -> Group:
        """What a terminal shows."""
        from rich.console import Group

        from hegemon.cli import cluster_screen
        from hegemon.cli.tables import cell

        parts: list[Any] = []
        if self.state is not None:
            parts = [cluster_screen.head(self.state), "", cluster_screen.node_table(self.state, self.views)]
            parts += ["", cluster_screen.job_counts(self.state["stats"]), "", cluster_screen.depth(self.state["stats"])]
        if self.silent:
            parts += ["", cell(f"No node answers; asked {', '.join(self.urls)}.", "red")]
        parts += ["", cell("CHANGES", "bold"), *map(cell, self.events or ["none so far"]), "", cell("q ends", "dim")]
        return Group(*parts)


def run(url: str, seconds: float | None) -> None:
    """Watch until q, Ctrl-C or the time is up. Stop(UNAVAILABLE) if no node ever answered, Stop(REFUSED) when they do
    not let us look, or not any more."""
    watching = Watching(url)
    try:
        asyncio.run(_watch(watching, None if seconds is None else time.monotonic() + seconds))
    except KeyboardInterrupt:
        pass
    except ApiError as error:
        raise for_refusal(error) from error
    if watching.state is None:
        raise cluster_poll.why_silent(url)


async def _watch(watching: Watching, until: float | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    with _display() as show, pressed(lambda key: ended.set() if key in ("q", "") else None):
        # However short the time, there is a first look.
        while not ended.is_set() and (watching.state is None or until is None or time.monotonic() < until):
            began = time.monotonic()
            first = None if watching.state is not None else max(cluster_poll.PATIENCE_S, cluster_poll.FIRST_PATIENCE_S)
            found = await state_from(watching.urls, first)
            known = urls_in(found[1]) if found else watching.urls
            show(watching, watching.saw(found, await views(known), datetime.now().astimezone()))
            if found is None and watching.state is None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(EVERY_S - (time.monotonic() - began), 0.05)):
                    await ended.wait()


@contextlib.contextmanager
def _display() -> Iterator[Any]:
    """How a round is shown: the whole screen at a terminal, else a line for each change."""
    if not sys.stdout.isatty():

        def lines(watching: Watching, said: list[str]) -> None:
            del watching
            for line in said:
                emit_line(line)
            sys.stdout.flush()

        yield lines
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda watching, said: live.update(watching.screen(), refresh=True)
