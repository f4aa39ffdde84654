"""Eyes on a cluster from outside: each node's own words, the office's document, the marker and all writes in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import redis
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from hegemon.queue.redis import script_sha
from tests.clusters.sightings import Fence, MarkerSeen, OfficeSeen, Sighting, Violation, unlawful
from tests.nodes import NodeProcess

EVERY_S: Final = 0.1
# A node that is stopped or cut off answers late or never; the next question is then asked all the same.
PATIENCE_S: Final = 1.0
# Every script that carries an epoch.
FENCED: Final = (
    *("bury", "dispatch", "inboxes", "node_close", "office_beat", "office_take", "promote", "rebuild_add"),
    *("rebuild_clear", "rebuild_state", "rebuild_undeclare", "reclaim", "reindex", "rounds", "settled", "survey"),
    *("unpark", "worker_close"),
)


class FenceWatch:
    """A thread that reads MONITOR and feeds the `Fence`. It begins anew when Redis was away."""

    def __init__(self, url: str, cluster_id: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "127.0.0.1", address.port or 6379)
        self.fence = Fence(f"hegemon:{{{cluster_id}}}:", {script_sha(name): name for name in FENCED})
        self._over = threading.Event()
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fence")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._watching.wait(30.0), "Redis does not let us watch"
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self.fence.lost_sight()
            with contextlib.suppress(OSError), socket.create_connection(self._address, 1.0) as connection:
                connection.settimeout(0.2)
                connection.sendall(b"MONITOR\r\n")
                self._read(connection)
            self._over.wait(0.02)

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        while not self._over.is_set():
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\r\n")
            for line in lines:
                if line == b"+OK":
                    self._watching.set()
                elif b"] " in line:
                    self.fence.line(line)


class Witnesses:
    """All of them. `nodes()` are looked at anew in each round, since they come and go."""

    def __init__(
        self,
        nodes: Callable[[], Sequence[NodeProcess]],
        *,
        redis_url: str,
        mongodb_uri: str,
        database: str,
        cluster_id: str,
    ) -> None:
        self._nodes = nodes
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
        self._marker_key = f"hegemon:{{{cluster_id}}}:marker"
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(
            mongodb_uri, serverSelectionTimeoutMS=1000, socketTimeoutMS=2000
        )
        self._meta = self._mongo[database].get_collection("cluster", read_concern=ReadConcern("majority"))
        self._fence = FenceWatch(redis_url, cluster_id)
        self.sightings: list[Sighting] = []
        self.offices: list[OfficeSeen] = []
        self.markers: list[MarkerSeen] = []
        # A Redis that went back shows an older marker, and that is no fault of ours.
        self.redis_went_back = False
        self.every_s = EVERY_S

    @property
    def fence(self) -> Fence:
        """What MONITOR tells."""
        return self._fence.fence

    def violations(self) -> list[Violation]:
        """What may not be."""
        markers = [] if self.redis_went_back else self.markers
        return [*unlawful(self.sightings, self.offices, markers), *self.fence.violations]

    def epochs(self, since_s: float = 0.0) -> list[int]:
        """The office's epochs since then, each once."""
        return sorted({seen.epoch for seen in self.offices if seen.at_s >= since_s})

    def active(self, since_s: float) -> list[Sighting]:
        """Who called itself active since then."""
        return [seen for seen in self.sightings if seen.active and seen.asked_s >= since_s]

    def overlaps(self) -> list[tuple[str, str, float, float]]:
        """Nodes that called themselves active while another of a later epoch did so: (older, newer, for so long, since
        when). The fence makes that harmless; how long it lasts is worth a look."""
        found = []
        active = [seen for seen in self.sightings if seen.active]
        first: dict[int, Sighting] = {}
        last: dict[int, Sighting] = {}
        for seen in active:
            first.setdefault(seen.epoch, seen)
            last[seen.epoch] = seen
        for older in sorted(last):
            for newer in sorted(first):
                if newer > older and last[older].asked_s > first[newer].at_s:
                    since = first[newer].at_s
                    found.append((last[older].node, first[newer].node, last[older].asked_s - since, since))
        return found

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look, while the block runs."""
        over = asyncio.Event()
        with self._fence:
            tasks = [asyncio.create_task(self._watch_nodes(over)), asyncio.create_task(self._watch_stores(over))]
            try:
                yield
            finally:
                over.set()
                await asyncio.gather(*tasks)

    def close(self) -> None:
        """Close the clients."""
        self._redis.close()
        self._mongo.close()

    async def _watch_nodes(self, over: asyncio.Event) -> None:
        asking: dict[str, asyncio.Task[None]] = {}
        while not over.is_set():
            for node in self._nodes():
                name = node.environment["NODE_ID"]
                if node.process is not None and (name not in asking or asking[name].done()):
                    asking[name] = asyncio.create_task(self._ask(node, name))
            await asyncio.sleep(self.every_s)
        await asyncio.gather(*asking.values())

    async def _ask(self, node: NodeProcess, name: str) -> None:
        asked_s, life = time.monotonic(), node.pid
        try:
            reply = await node.api.get("/api/v1/election", timeout=PATIENCE_S)
        except (httpx.HTTPError, RuntimeError):
            return  # no answer; RuntimeError: it was removed meanwhile, and its client is closed
        if reply.status_code != 200 or node.pid != life:
            return
        said = reply.json()
        self.sightings.append(
            Sighting(
                name,
                life,
                asked_s,
                time.monotonic(),
                said["epoch"],
                said["term"],
                said["is_leader"],
                said["active"],
                said["leader_id"],
            )
        )

    async def _watch_stores(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.to_thread(self._look)
            await asyncio.sleep(self.every_s)

    def _look(self) -> None:
        marker = None
        with contextlib.suppress(redis.RedisError):
            marker = self._redis.hmget(self._marker_key, ["epoch", "generation"])
        try:
            office = self._meta.find_one({"_id": "office"})
        except PyMongoError:
            return
        now = time.monotonic()
        epoch = office["epoch"] if office else 0
        if office:
            self.offices.append(
                OfficeSeen(
                    now,
                    epoch,
                    office["generation"],
                    office["node"],
                    office["nonce"],
                    office["vacant"],
                    office["term"],
                )
            )
        if marker and marker[0] is not None:
            self.markers.append(MarkerSeen(now, int(marker[0]), int(marker[1] or 0), epoch))
