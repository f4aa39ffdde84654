"""Jobs that have waited for long: nothing that the leader does with them may disturb those of today."""

from typing import Any

from pymongo import MongoClient

from hegemon.queue.ids import floor_id
from tests.engine.journal import documents
from tests.nodes import node

HOUR_MS = 3_600_000


async def test_a_rebuild_with_live_jobs_older_than_the_audits_patience_ends(environment: dict[str, str]) -> None:
    """The audit looks at them as soon as the index is whole, by a generation that must be the new one."""
    # A rebuild that Redis keeps waiting begins anew, as another generation.
    patient = environment | {"REDIS_TIMEOUT": "60s", "WORKER_LEASE": "90s"}
    async with node(patient) as running:
        await running.submit("noop", delay=3600)
        await running.stop()
        (found,) = documents(environment)
        old_id = floor_id(found["created_at"] - HOUR_MS)
        with MongoClient[dict[str, Any]](environment["MONGODB_URI"]) as client:
            jobs = client[environment["MONGODB_DATABASE"]]["jobs"]
            jobs.insert_one(found | {"_id": old_id, "created_at": found["created_at"] - HOUR_MS})
            jobs.delete_one({"_id": found["_id"]})
            # As after a loss of Redis's data: the generation that was confirmed is of another server.
            client[environment["MONGODB_DATABASE"]]["cluster"].update_one(
                {"_id": "office"}, {"$set": {"run_id": "lost", "generation": 7}}
            )
        await running.start()
        for _ in range(5):
            assert (await running.wait(await running.submit("noop")))["status"] == "completed"
        assert (await running.api.get("/api/v1/cluster")).json()["generation"] == 8
        (kept,) = documents(environment, {"_id": old_id})
        assert kept["status"] == "scheduled"
