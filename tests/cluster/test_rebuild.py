"""A rebuild of the index that meets another loss of Redis's data."""

import asyncio

from hegemon.cluster.rebuild import Rebuilder
from hegemon.queue.clock import ClusterClock
from hegemon.queue.office_store import Office
from hegemon.queue.redis import Redis
from tests.engine.parts import NOW_MS, TIMEOUT, Index, Jobs
from tests.waiting import PATIENCE_S, wait_until


async def test_a_rebuild_that_redis_loses_while_workers_are_waited_for_begins_anew_at_once(
    index: Index, jobs: Jobs
) -> None:
    asked = list[Office]()
    awaited = {"a worker that never comes"}

    async def expected() -> set[str]:
        asked.append(await jobs.offices.read())
        return awaited

    redis = Redis(index.url, index.cluster_id, timeout=TIMEOUT, confirm=False)
    rebuilder = Rebuilder(
        redis=redis,
        offices=jobs.offices,
        store=jobs.store,
        queries=jobs.queries,
        clock=ClusterClock(),
        cluster_id=index.cluster_id,
        node="n1",
        lease_s=10 * PATIENCE_S,
        expected=expected,
        began=lambda: None,
    )
    office = await jobs.offices.take(Office(), node="n1", incarnation="n1~0", url="", now_ms=NOW_MS, term=1)
    assert office is not None
    try:
        office = await rebuilder.rebuild(office)
        assert office is not None
        assert office.generation == 1
        assert not asked, "nobody can hold anything of an index that never was"
        rebuilding = asyncio.create_task(rebuilder.rebuild(office))
        await wait_until(lambda: asked)
        await index.raw("DEL", "marker")
        await wait_until(lambda: asked[-1].generation == 3, message="the next rebuild")
        awaited.clear()
        async with asyncio.timeout(PATIENCE_S):
            office = await rebuilding
    finally:
        await redis.close()
    assert office is not None
    assert office.generation == 3
