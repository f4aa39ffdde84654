"""A cluster of a compose file as its users reach it: over HTTPS on the published ports, logged in as its admin."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx
from dotenv import dotenv_values, set_key

from tests.compose.engines import Engine
from tests.waiting import PATIENCE_S, wait_until

NODES: Final = {"bully": 2, "raft": 3, "gossip": 3}
PROMETHEUS: Final = "http://127.0.0.1:9093"
GRAFANA: Final = "http://127.0.0.1:3000"
# Containers start and stop on a machine that others use too.
LONG_S: Final = 3 * PATIENCE_S
# What comes of a request to a node that is gone, or going.
GONE: Final = (httpx.TransportError, httpx.HTTPStatusError)


@dataclass
class Cluster:
    """One algorithm's cluster on one engine; `secrets` are those of its .env, `tls` the directory of its CA."""

    engine: Engine
    algorithm: str
    secrets: dict[str, str | None]
    tls: Path
    client: httpx.AsyncClient = field(init=False)

    @property
    def nodes(self) -> list[str]:
        """The named nodes."""
        return [f"node-{number}" for number in range(1, NODES[self.algorithm] + 1)]

    def url(self, node: str) -> str:
        """Where the host reaches a named node."""
        return f"https://127.0.0.1:{8079 + int(node.removeprefix('node-'))}"

    def container(self, node: str) -> str:
        """The container of a named node."""
        return self.engine.container(self.algorithm, node)

    def trust(self) -> ssl.SSLContext:
        """Trust in the authority of compose/init, and in no other."""
        return ssl.create_default_context(cafile=str(self.tls / "ca.pem"))

    @asynccontextmanager
    async def logged_in(self) -> AsyncIterator[Cluster]:
        """With a token of the admin for `client`."""
        async with httpx.AsyncClient(verify=self.trust(), timeout=20, trust_env=False) as client:
            self.client = client
            await self.log_in()
            yield self

    async def log_in(self) -> None:
        """Tokens live for ten minutes; any node that answers gives one."""
        self.client.headers.pop("Authorization", None)
        body = {"username": "admin", "password": self.secrets["ADMIN_PASSWORD"]}
        answer = await self.answer("POST", "/auth/login", json=body)
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def change_secrets(self, *names: str) -> None:
        """New values for these secrets in .env, and here."""
        for name in names:
            self.secrets[name] = token_hex(32)
            set_key(self.tls.parents[1] / ".env", name, self.secrets[name] or "", quote_mode="never")

    async def any(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The first good answer of any node, None if there is none now."""
        for node in self.nodes:
            if (answer := await self.ask(node, method, path, **more)) is not None:
                return answer
        await asyncio.sleep(0.1)  # nobody answers, and asking faster would only slow their start
        return None

    async def answer(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The first good answer of any node, waited for."""
        found = await wait_until(lambda: self.any(method, path, **more), LONG_S, f"an answer to {method} {path}")
        assert found is not None
        return found

    async def ask(self, node: str, method: str, path: str, **more: Any) -> httpx.Response | None:
        """A good answer of this node, None if there is none now."""
        try:
            answer = await self.client.request(method, self.url(node) + path, **more)
            answer.raise_for_status()
        except GONE:
            return None
        return answer

    async def leader(self, *, other_than: str = "") -> str:
        """Who leads, once somebody does and is active."""

        async def found() -> str | None:
            for node in self.nodes:
                answer = None if node == other_than else await self.ask(node, "GET", "/api/v1/election")
                if answer is not None:
                    said = answer.json()
                    if said["is_leader"] and said["active"]:
                        return str(said["node_id"])
            answer = await self.any("GET", "/api/v1/leader")
            holder = answer.json()["leader_id"] if answer is not None else None
            # An extra node may lead; it has no port of its own to be asked at.
            return holder if holder and holder != other_than and holder not in self.nodes else None

        leader = await wait_until(found, LONG_S, f"a leader other than {other_than!r}")
        assert leader is not None
        return leader

    async def epoch(self) -> int:
        """The newest epoch."""
        answer = await self.answer("GET", "/api/v1/leader")
        return int(answer.json()["epoch"])

    async def alive(self) -> int:
        """How many nodes the cluster counts."""
        answer = await self.any("GET", "/api/v1/nodes")
        return sum(node["alive"] for node in answer.json()["nodes"]) if answer is not None else 0

    async def submit(self, count: int = 1, **body: Any) -> list[str]:
        """Submit jobs in one batch to any node that takes them; their ids."""
        jobs = {"jobs": [{"type": "noop", "payload": {}, **body}] * count}
        answer = await self.answer("POST", "/api/v1/jobs/batch", json=jobs)
        ids: list[str] = answer.json()["ids"]
        return ids

    async def completed(self, ids: list[str]) -> None:
        """Wait until each of these jobs is completed."""
        waits = set(ids)

        async def ended(job: str) -> None:
            answer = await self.any("GET", f"/api/v1/jobs/{job}")
            if answer is not None and answer.json()["status"] == "completed":
                waits.discard(job)

        async def none_waits() -> bool:
            await asyncio.gather(*(ended(job) for job in sorted(waits)[:50]))
            return not waits

        await wait_until(none_waits, LONG_S, f"{len(ids)} jobs to be completed")

    async def log(self, node: str, event: str) -> list[dict[str, Any]]:
        """The lines of a kind that a node's container has written, oldest first."""
        # Engines show what a container wrote to stderr on theirs.
        command = f"{self.engine.tool} logs {self.container(node)} 2>&1"
        text = await asyncio.to_thread(self.engine.machine.run, "sh", "-c", command)
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def taken_after(self, epoch: int) -> dict[str, Any]:
        """What whoever took the office first after this epoch has written of it."""

        async def found() -> dict[str, Any] | None:
            every = [line for node in self.nodes for line in await self.log(node, "office_taken")]
            return min((line for line in every if line["epoch"] > epoch), key=lambda line: line["epoch"], default=None)

        taken: dict[str, Any] | None = await wait_until(found, LONG_S, f"an office that is taken after epoch {epoch}")
        assert taken is not None
        return taken

    async def in_thread(self, what: str, node: str) -> None:
        """Do something to a node's container without holding up the loop."""
        await asyncio.to_thread(self.engine.do, what, self.container(node))


def secrets_of(compose: Path) -> dict[str, str | None]:
    """What compose/init has written."""
    return dotenv_values(compose / ".env", interpolate=False)
