"""What people and machines may look at: health, metrics, statistics, workers, the office, OpenAPI; parked jobs."""

from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from tests.engine.journal import Journal, documents
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"HANDLERS": "tests.handlers", "WORKER_COUNT": "4", "METRICS_PORT": "0"}
Environment = dict[str, str]


async def get(node_: NodeProcess, path: str) -> httpx.Response:
    return (await node_.api.get(path)).raise_for_status()


async def test_health_tells_its_parts(shared: NodeProcess) -> None:
    async def well() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]] | None:
        replies = [await shared.api.get(path) for path in ("/livez", "/readyz", "/health")]
        if any(reply.status_code != 200 for reply in replies):
            return None
        live, ready, both = (reply.json() for reply in replies)
        return live, ready, both

    # A pause of the machine shows here as what it is.
    live, ready, both = await wait_until(well)
    assert live["ok"] is True
    assert set(live["parts"].values()) == {"ok"}
    assert ready == {"ok": True, "parts": {"redis": "ok", "mongodb": "ok", "index": "ok", "workers": "ok"}}
    assert (both["ok"], both["live"], both["ready"]) == (True, live, ready)


async def test_statistics_count_what_is_there(shared: NodeProcess, shared_journal: Journal) -> None:
    running = await shared.submit("journaled", {"seconds": 3600})
    later = await shared.submit("journaled", delay=3600)
    parked = await shared.submit("nobody-knows-it", priority=10)
    done = await shared.submit("journaled")
    await shared.wait(done)
    await wait_until(lambda: shared_journal.starts(running))

    async def counted() -> bool:
        stats = (await get(shared, "/api/v1/stats")).json()
        assert set(stats) == {"jobs", "queue", "node", "figures"}
        assert set(stats["queue"]) == {"ready", "delayed", "held", "parked"}
        assert {"id", "is_leader", "strategy"} == set(stats["node"])
        assert (stats["node"]["id"], stats["node"]["strategy"]) == ("n1", "least_loaded")
        queue = stats["queue"]
        in_index = (queue["ready"], queue["delayed"], queue["held"], queue["parked"])
        states = {name: count for name, count in stats["jobs"].items() if count}
        return (
            stats["node"]["is_leader"]
            and in_index == (0, 1, 1, {"nobody-knows-it": 1})
            and states
            == {
                "running": 1,
                "scheduled": 1,
                "pending": 1,
                "completed": 1,
            }
        )

    await wait_until(counted)
    for job_id in (running, later, parked):
        assert (await shared.api.post(f"/api/v1/jobs/{job_id}/cancel")).status_code == 200


async def test_a_type_that_nobody_handles_waits_for_a_node_that_does_and_blocks_nobody(
    shared: NodeProcess, shared_environment: Environment
) -> None:
    strange = [await shared.submit("curious", priority=10) for _ in range(3)]
    assert (await shared.wait(await shared.submit("journaled", priority=0)))["status"] == "completed"

    async def parked() -> int:
        return int((await get(shared, "/api/v1/stats")).json()["queue"]["parked"].get("curious", 0))

    async def all_parked() -> bool:
        return await parked() == 3

    await wait_until(all_parked)
    assert {(await shared.job(job_id))["status"] for job_id in strange} == {"pending"}
    # This is about who runs what: a moment's pause of n1 is not to cost it the office.
    knowing = shared_environment | {"HANDLERS": "tests.engine.curious_handlers", "OFFICE_TAKEOVER": "1m"}
    async with node(knowing, name="n2", start=False) as other:
        other.spawn()
        for job_id in strange:
            job = await shared.wait(job_id)
            assert (job["status"], job["node"]) == ("completed", "n2")

        async def none_parked() -> bool:
            return await parked() == 0

        await wait_until(none_parked)
        await other.until_ready()
        types = await told(other, "curious")
        assert types["curious"]["nodes"] == ["n2"]
        assert "curious" in await told(shared, "curious"), "every node knows what each of them takes"
        election = (await get(other, "/api/v1/election")).json()
        assert (election["is_leader"], election["active"]) == (False, False), "one holds the office, and it is another"
        assert (await shared.wait(await other.submit("journaled")))["node"] == "n1", "accepted here, run there"
        assert await other.stop() == 0


async def told(node_: NodeProcess, name: str) -> dict[str, Any]:
    """The types by name, once this one's node has told what it takes."""

    async def types() -> dict[str, Any]:
        found = {one["type"]: one for one in (await get(node_, "/api/v1/types")).json()["types"]}
        return found if name in found and found[name]["schema"] is not None else {}

    return await wait_until(types)


async def test_types_are_shown_with_what_their_handlers_take(shared: NodeProcess) -> None:
    types = await told(shared, "journaled")
    assert types["journaled"] == {
        "type": "journaled",
        "description": "Runs until its gate is open and for a while, between two lines of the journal.",
        "schema": {
            "type": "object",
            "properties": {
                "seconds": {"type": "number", "default": 0.0},
                "result": {"type": "integer", "default": 0},
                "gate": {"type": "string", "default": ""},
            },
            "required": [],
            "additionalProperties": False,
        },
        "max_retries": None,
        "timeout": None,
        "nodes": ["n1"],
        "differing": [],
    }
    assert types["picky"]["max_retries"] == 5
    (worker,) = await shared.workers()
    assert sorted(types) == worker["types"]


async def test_metrics_count_jobs_by_outcome(shared: NodeProcess, shared_environment: Environment) -> None:
    async def metric(name: str) -> float:
        lines = (await get(shared, "/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    cluster = shared_environment["CLUSTER_ID"]
    completed = f'hegemon_jobs_total{{cluster="{cluster}",node="n1",outcome="completed",'
    for _ in range(3):
        assert (await shared.wait(await shared.submit("journaled")))["node"] == "n1"
    # Those of the module's other tests too: they are counted a moment after their ends.
    ended = len(documents(shared_environment, {"status": "completed", "node": "n1"}))

    async def counted() -> bool:
        return await metric(completed) == ended

    await wait_until(counted)
    assert await metric("hegemon_office_epoch") >= 1.0

    async def active() -> bool:
        return await metric("hegemon_leader_active") == 1.0

    # A leader that was not heard of for half a second does not count as active: on a busy machine that may be.
    await wait_until(active)


async def test_workers_nodes_and_the_office_are_shown(shared: NodeProcess) -> None:
    (worker,) = await shared.workers()
    assert (worker["node"], worker["slots"], worker["solo"]) == ("n1", 4, False)
    assert "journaled" in worker["types"]

    async def active() -> dict[str, Any] | None:
        found: dict[str, Any] = (await get(shared, "/api/v1/election")).json()
        return found if found["active"] else None

    election = await wait_until(active)
    mine = [found for found in (await get(shared, "/api/v1/nodes")).json()["nodes"] if found["id"] == "n1"]
    assert [(found["alive"], found["is_leader"], found["slots"], found["url"]) for found in mine] == [
        (True, True, 4, shared.url)
    ]
    leader = (await get(shared, "/api/v1/leader")).json()
    assert (leader["leader_id"], leader["url"]) == ("n1", shared.url)
    assert (election["current_algorithm"], election["is_leader"]) == ("solo", True)
    cluster = (await get(shared, "/api/v1/cluster")).json()
    assert (cluster["algorithm"], cluster["generation"]) == ("solo", leader["generation"])


async def test_openapi_is_served_whole_and_valid(shared: NodeProcess) -> None:
    described = (await get(shared, "/openapi.json")).json()
    validate(described)
    paths = ("/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/jobs/{id}/wait", "/api/v1/dead", "/api/v1/stats", "/readyz")
    assert set(paths) <= set(described["paths"])
