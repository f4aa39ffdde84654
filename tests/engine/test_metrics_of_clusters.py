"""Metrics and figures beyond one healthy node: while both stores are away, and of two nodes of which one dies."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parsed

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.nodes import NodeProcess, free_port, node
from tests.waiting import wait_until

Environment = dict[str, str]


async def value(of: NodeProcess, name: str) -> float:
    """The sum of all series of this name, as a scrape has it now."""
    text = (await of.api.get("/metrics")).raise_for_status().text
    return sum(sample.value for family in parsed(text) for sample in family.samples if sample.name == name)


async def test_a_scrape_answers_while_both_stores_are_away_and_says_so(
    environment: Environment, own_redis: EmbeddedRedis, own_mongo: EmbeddedMongo
) -> None:
    own = {"REDIS_URL": own_redis.url, "MONGODB_URI": own_mongo.uri}
    pids = [pid for pid in (own_redis.pid, own_mongo.pid) if pid is not None]
    assert len(pids) == 2
    async with node(environment | own) as started:
        await started.wait(await started.submit("journaled"))

        async def back() -> bool:
            return await value(started, "hegemon_store_up") == 2

        await wait_until(back)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)

            async def away() -> bool:
                return await value(started, "hegemon_store_up") == 0

            await wait_until(away, message="a scrape to say that both are away")
            assert await value(started, "hegemon_jobs_submitted_total") == 1
            assert await value(started, "hegemon_leader_active") == 0
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        await wait_until(back)


async def test_each_node_tells_of_both_and_the_death_of_the_leader_is_counted(environment: Environment) -> None:
    ports = {name: free_port() for name in ("n1", "n2")}
    peers = ",".join(f"{name}@127.0.0.1:{port}" for name, port in ports.items())
    shared = environment | {"ELECTION_ALGORITHM": "gossip", "CLUSTER_PEERS": peers}
    async with AsyncExitStack() as stack:
        nodes: dict[str, NodeProcess] = {}
        for name, port in ports.items():
            nodes[name] = await stack.enter_async_context(node(shared | {"CLUSTER_PORT": str(port)}, name=name))
        for job_id in await nodes["n2"].submit_many([{"type": "journaled", "queue": "mail"} for _ in range(20)]):
            await nodes["n2"].wait(job_id)
        leaders: set[str] = set()

        async def agreed() -> bool:
            """A busy machine may change the leader between two looks."""
            leaders.clear()
            for asked in nodes.values():
                figures = await until_whole(asked, nodes["n2"])
                assert figures["counters"]["submitted"] == sum(one["counters"]["submitted"] for one in figures["nodes"])
                leaders.update(one["id"] for one in figures["nodes"] if one["active"])
            active = {name for name, one in nodes.items() if await value(one, "hegemon_leader_active") == 1}
            return len(leaders) == 1 and active == leaders

        await wait_until(agreed, message="both to tell of one leader")
        (leader,) = leaders
        (survivor_name,) = nodes.keys() - {leader}
        survivor = nodes[survivor_name]
        before = await value(survivor, "hegemon_election_leader_changes_total")
        await nodes[leader].kill()

        async def succeeded() -> bool:
            changed = await value(survivor, "hegemon_election_leader_changes_total") > before
            return changed and await value(survivor, "hegemon_leader_active") == 1

        await wait_until(succeeded, message="the survivor to lead, and to have counted that")

        async def alone() -> bool:
            found = (await survivor.api.get("/api/v1/stats")).raise_for_status().json()["figures"]
            return ([one["id"] for one in found["nodes"]], found["missing"]) == ([survivor_name], [])

        await wait_until(alone, message="the dead node's figures to be gone, and not to be missed")


async def until_whole(asked: NodeProcess, other: NodeProcess) -> dict[str, Any]:
    """The figures of this node once they are those of both, with what was done by way of the other."""
    found: dict[str, Any] = {}

    async def whole() -> bool:
        # Percentiles are those of the last minute, however long it takes to look.
        await other.wait(await other.submit("journaled", queue="mail"))
        found.update((await asked.api.get("/api/v1/stats")).raise_for_status().json()["figures"])
        mail = [queue for queue in found["queues"] if queue["name"] == "mail"]
        return (
            [one["id"] for one in found["nodes"]] == ["n1", "n2"]
            and [one["active"] for one in found["nodes"]].count(True) == 1
            and found["missing"] == []
            and found["depth_age_s"] is not None
            and found["counters"]["completed"] >= 20
            and any(queue["wait"]["count"] and queue["rates"]["submitted"]["last_60s"] for queue in mail)
        )

    await wait_until(whole, message=f"figures of both nodes, of {asked.url}")
    return found
