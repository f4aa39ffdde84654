"""What a node has of its two stores: connections, the ports over them, and how it joins the stores of its cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hegemon.auth.errors import AuthSettingsError
from hegemon.cluster.settings import Settings
from hegemon.cluster.twins import refuse_live_twin
from hegemon.measures import Meters
from hegemon.queue import mongo
from hegemon.queue.breaker import Breaker
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable, WrongStore
from hegemon.queue.index import MemberIndex
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

STORE_PATIENCE_S: Final = 30.0


class NodeStores:
    """One node's. Connecting asks nothing of a server; `join` does. `WrongStore` where a URL says what cannot be."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        stores, cluster_id = settings.store, settings.cluster.cluster_id
        self._settings = settings
        self.client = mongo.connect(stores.mongodb_uri_with_tls, timeout=stores.mongodb_timeout, meters=meters)
        self.database = self.client[stores.mongodb_database]
        self.redis = Redis(stores.redis_url, cluster_id, timeout=stores.redis_timeout, meters=meters)
        # The leader's, which must work while the index is not to be trusted.
        timeout = stores.redis_timeout
        self.rebuild_redis = Redis(stores.redis_url, cluster_id, timeout=timeout, confirm=False, meters=meters)
        self.jobs = JobStore(self.client, self.database)
        self.queries = JobQueries(self.client, self.database)
        self.offices = OfficeStore(self.database)
        self.index = MemberIndex(self.redis)
        self.mongo_breaker, self.redis_breaker = Breaker("MongoDB"), Breaker("Redis")

    async def join(self, incarnation: str, clock: ClusterClock, prepare: Callable[[], Awaitable[None]] | None) -> int:
        """Wait for both stores, refuse those that are not ours or that run another election, `prepare` what else must
        stand before a node has a number, and get that: the boot number. `StoreUnavailable` after STORE_PATIENCE_S,
        `WrongStore` at once where no wait would help."""
        deadline = time.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                return await self._join(incarnation, clock, prepare)
            except StoreUnavailable as error:
                if mongo.mistaken(error.__cause__):
                    raise WrongStore(str(error)) from error
                if time.monotonic() > deadline:
                    raise
                log.warning("waiting_for_store", store=error.store, reason=str(error))
                await asyncio.sleep(0.5)

    async def _join(self, incarnation: str, clock: ClusterClock, prepare: Callable[[], Awaitable[None]] | None) -> int:
        cluster, algorithm = self._settings.cluster, self._settings.election.election_algorithm
        await self.queries.prepare(cluster.cluster_id, algorithm)
        await self.rebuild_redis.check_server()
        # Before anything asks for the time: this node's own clock may be wrong by an hour.
        await clock.ask(self.rebuild_redis)
        beat_s = self._settings.worker.worker_beat.total_seconds()
        await refuse_live_twin(MemberIndex(self.rebuild_redis), cluster.node_id, incarnation, beat_s)
        await self.offices.enlist(incarnation, cluster.node_id, clock.now_ms())
        try:
            await self.offices.agree(incarnation, algorithm)
            if prepare is not None:
                await prepare()
        except (WrongStore, AuthSettingsError):
            await self.offices.discharge(incarnation)
            raise
        return await self.offices.next_boot(cluster.node_id)

    async def close(self) -> None:
        """Close the connections."""
        for redis in (self.redis, self.rebuild_redis):
            await redis.close()
        self.client.close()
