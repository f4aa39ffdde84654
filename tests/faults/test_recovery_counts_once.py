"""A leader that dies in the middle of a recovery leaves it to its successor, who counts nothing twice."""

import signal

from tests.conftest import MongoServer, RedisServer
from tests.nodes import node
from tests.waiting import wait_until


async def test_a_failed_try_counts_once_when_its_recovery_is_taken_up_by_a_successor(
    redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    environment = {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": database,
        "CLUSTER_ID": cluster_id,
        "JOB_TIMEOUT_GRACE": "200ms",
        "RETRY_BASE_DELAY": "5m",
    }
    async with node(environment, start=False) as one:
        await one.start(HEGEMON_FAILPOINTS="recover.after_bump=kill")
        job_id = await one.submit("blocking", {"seconds": 60}, timeout=0.2, max_retries=1)
        assert await one.ended() == -signal.SIGKILL
        await one.start()

        async def taken_up() -> bool:
            return bool((await one.job(job_id))["attempt"] > 2)

        await wait_until(taken_up, message="the successor to win an attempt of its own")
        job = await one.job(job_id)
        assert (job["status"], job["failures"]) == ("retrying", 1)
        assert [item["outcome"] for item in job["history"]] == ["timeout"]
