"""How long the upkeep of the stores takes: a backup, and a rebuild of the index after a loss of Redis' data.

`./dev soak tests/soak/test_upkeep.py` prints both rates; UPKEEP_JOBS=30000 live jobs, each with a payload of 100 bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from hegemon.cluster.embedded import EmbeddedRedis
from tests.conftest import MongoServer
from tests.nodes import node
from tests.soak.conftest import Say
from tests.waiting import wait_until

pytestmark = pytest.mark.soak

JOBS = int(os.environ.get("UPKEEP_JOBS", "30000"))
BATCH = 1000


async def test_a_backup_and_a_rebuild_read_thousands_of_jobs_a_second(
    own_redis: EmbeddedRedis, mongo_server: MongoServer, cluster_id: str, database: str, tmp_path: Path, say: Say
) -> None:
    environment = {
        "REDIS_URL": own_redis.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": database,
        "CLUSTER_ID": cluster_id,
    }
    one = {"type": "noop", "payload": {"text": "x" * 88}, "delay": 7200}
    async with node(environment) as running:
        for _ in range(JOBS // BATCH):
            await running.submit_many([one] * BATCH)
        say(f"{JOBS} jobs wait")
        began = time.monotonic()
        command = (sys.executable, "-m", "hegemon.cli", "backup", str(tmp_path / "backup"))
        ended = await asyncio.create_subprocess_exec(*command, env={"PATH": os.environ["PATH"], **environment})
        assert await ended.wait() == 0
        backed_up_s = time.monotonic() - began
        say(f"backup: {JOBS / backed_up_s:,.0f} jobs/s, {backed_up_s:.1f} s with the start of the program")

        async def rebuilt() -> dict[str, Any] | None:
            lines = [json.loads(line) for line in running.log.splitlines() if '"index_rebuilt"' in line]
            return next((line for line in lines if line["jobs"] == JOBS), None)

        assert await rebuilt() is None
        with redis.Redis.from_url(own_redis.url) as client:
            client.flushall()
        found = await wait_until(rebuilt, 170, "the index to be built anew")
        assert found is not None
        say(f"rebuild: {JOBS / found['seconds']:,.0f} jobs/s, {found['seconds']:.1f} s")
