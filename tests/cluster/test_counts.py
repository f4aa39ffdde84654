"""What a node tells people about the index: each job counted once, under names that people know."""

from tests.conftest import MongoServer, RedisServer
from tests.nodes import node
from tests.waiting import wait_until


async def test_stats_count_a_held_job_once_and_name_the_type_that_waits_for_a_handler(
    redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    environment = {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": database,
        "CLUSTER_ID": cluster_id,
        "HANDLERS": "examples.jobs",
    }
    async with node(environment) as one:
        sleeping = [await one.submit("sleep", {"seconds": 3600}) for _ in range(2)]
        await one.submit("send-fax")

        async def settled() -> bool:
            held = sum(worker["held"] for worker in await one.workers())
            queue = (await one.api.get("/api/v1/stats")).json()["queue"]
            return held == len(sleeping) and bool(queue["parked"])

        await wait_until(settled, message="both sleepers held, the fax parked")
        queue = (await one.api.get("/api/v1/stats")).json()["queue"]
        assert queue == {"ready": 0, "delayed": 0, "held": len(sleeping), "parked": {"send-fax": 1}}
