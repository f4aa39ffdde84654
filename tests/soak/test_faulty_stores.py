"""Faulty stores, and in the middle of it a death or a flush: many seeds, each judged.

`SOAK_ROUNDS=20 SOAK_SEED=7 ./dev soak -k faulty_stores`: seeds 7 to 26.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import MongoServer, RedisServer
from tests.faults.ordeal import Ordeal, on_ordeal
from tests.soak.conftest import Say

pytestmark = pytest.mark.soak

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "50"))
SECONDS = 8.0


async def besides(ordeal: Ordeal, what: str) -> None:
    """One more fault while the stores misbehave."""
    trial = ordeal.trial
    if what == "flush":
        trial.wipe_index()
    elif what == "control":
        await trial.node.kill()
        await trial.start()
    elif what == "worker":
        # The API may have no answer now, or name a process that has just died.
        with contextlib.suppress(ProcessLookupError, OSError, IndexError):
            reply = await trial.node.api.get("/api/v1/workers")
            if reply.status_code == 200:
                os.kill(reply.json()["workers"][0]["pid"], signal.SIGKILL)


async def test_nothing_is_lost_between_faulty_stores_while_processes_die(
    tmp_path: Path,
    redis_server: RedisServer,
    mongo_server: MongoServer,
    cluster_id: str,
    database: str,
    seed: int,
    say: Say,
) -> None:
    say(f"\nSOAK_SEED={seed} SOAK_ROUNDS={ROUNDS}: faulty stores")
    async with on_ordeal(
        tmp_path,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        cluster_id=cluster_id,
        WORKER_PROCESSES="2",
    ) as ordeal:
        await ordeal.trial.start()
        for number in range(seed, seed + ROUNDS):
            what = random.Random(number).choice(("flush", "control", "worker", "nothing"))
            began = time.monotonic()

            async def then(what: str = what) -> None:
                await besides(ordeal, what)

            await ordeal.run(number, SECONDS, then)
            verdict = await ordeal.verdict_of(f"SOAK_SEED={number} SOAK_ROUNDS=1 ./dev soak -k faulty_stores; {what}")
            books = str(verdict).replace("\n", "; ")
            say(f"seed {number}: {what}; {time.monotonic() - began:.1f} s; {books}")
