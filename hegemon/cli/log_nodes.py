"""The logs of a cluster's nodes, each asked for its own, all at once: whoever is dead is missing, and said to be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from hegemon.cli.output import note
from hegemon.cli.session import credentials
from hegemon.client import ApiError, AsyncClient, Unreachable
from hegemon.client.calls import document

Line = dict[str, Any]
PATIENCE_S: Final = 2.0
FIRST_PATIENCE_S: Final = 5.0
MEMBERS_EVERY_S: Final = 2.0
PAGE: Final = 1000
_DENIED: Final = (401, 403)


@dataclass
class _Member:
    """A node, where it answers, and how far its log was read."""

    url: str
    client: AsyncClient
    after: str | None = None
    silent: bool = False


class ClusterLog:
    """Reads on from node to node. `only` names nodes; empty: all of them. `asked` are parameters of the API."""

    def __init__(self, url: str, asked: Mapping[str, str], only: Iterable[str]) -> None:
        self._url = url
        self._asked = dict(asked)
        self._only = frozenset(only)
        self._members: dict[str, _Member] = {}
        self._looked_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for member in self._members.values():
            await member.client.aclose()

    async def begin(self, limit: int) -> list[Line]:
        """The newest lines of all nodes, oldest first. ApiError, Unreachable of the node at the URL; ValueError for a
        name that no node has."""
        async with AsyncClient(self._url, timeout=FIRST_PATIENCE_S, **credentials(self._url)) as client:
            self._meet(await client.nodes())
        unknown = self._only - self._members.keys()
        if unknown:
            raise ValueError(f"there is no node {min(unknown)}; there are {', '.join(sorted(self._members)) or 'none'}")
        self._looked_s = time.monotonic()
        return (await self._ask(min(limit, PAGE)))[-limit:]

    async def more(self) -> list[Line]:
        """What has been written since, oldest first."""
        if time.monotonic() - self._looked_s > MEMBERS_EVERY_S:
            await self._look()
        return await self._ask(PAGE)

    def _meet(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        # Of several lives of a node the one that lives comes last.
        for node in sorted(nodes, key=lambda node: bool(node["alive"])):
            name, url = str(node["id"]), str(node["url"] or "").rstrip("/")
            if not url or (self._only and name not in self._only):
                continue
            known = self._members.get(name)
            if known is not None and known.url == url:
                continue
            client = AsyncClient(url, timeout=PATIENCE_S, retry_for=0, **credentials(url))
            member = _Member(url, client)
            if known is not None:
                member.after, member.silent = known.after, known.silent
            self._members[name] = member

    async def _look(self) -> None:
        """Who is there now, as the first that answers tells."""
        self._looked_s = time.monotonic()
        for member in sorted(self._members.values(), key=lambda member: member.silent):
            try:
                self._meet(await member.client.nodes())
                return
            except (ApiError, Unreachable):
                continue

    async def _ask(self, limit: int) -> list[Line]:
        names = sorted(self._members)
        answers = await asyncio.gather(*(self._lines(name, self._members[name], limit) for name in names))
        return merged(answers)

    async def _lines(self, name: str, member: _Member, limit: int) -> list[Line]:
        params = {**self._asked, "limit": str(limit)} | ({} if member.after is None else {"after": member.after})
        try:
            said = await member.client.send(document("GET", "/api/v1/logs", params=params))
        except Unreachable:
            if not member.silent:
                note(f"{name} does not answer: its lines are missing from here on.")
            member.silent = True
            return []
        except ApiError as error:
            if error.status in _DENIED or error.status == 400:
                raise
            if not member.silent:
                note(f"{name} gives no lines: {error.detail}")
            member.silent = True
            return []
        if member.silent:
            note(f"{name} answers again.")
        member.silent = False
        if said["missed"]:
            note(f"{said['missed']} lines of {name} came and went unseen.")
        member.after = said["next"]
        found: list[Line] = [{"node": said["node"], **line} for line in said["lines"]]
        return found


def merged(parts: Iterable[list[Line]]) -> list[Line]:
    """Lines of several nodes by their times; those of one node stay in their order."""
    stamped = []
    for lines in parts:
        latest = ""
        for line in lines:
            latest = max(latest, str(line.get("timestamp") or ""))
            stamped.append((latest, line))
    return [line for _, line in sorted(stamped, key=lambda pair: pair[0])]
