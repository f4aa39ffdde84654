"""Processes killed and stopped, hundreds of times under load, at moments drawn from a seed; judged after every round.

`SOAK_ROUNDS=200 SOAK_SEED=1 ./dev soak -k kill`; a round that finds something ends the soak and says its seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.faults.trial import Trial
from tests.soak.conftest import Say
from tests.waiting import wait_until

pytestmark = pytest.mark.soak

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "200"))
# The longest moment before a process is hit: load is under way, and in every phase of a job's life.
MOMENT_S = 1.2
STOPS_S = (0.2, 0.5, 1.0, 1.5, 2.5, 4.0, 8.0, 15.0, 30.0)
# What accumulates is bounded: a submitter waits while so many of its jobs have not been seen completed.
BACKLOG = 300


@asynccontextmanager
async def load(trial: Trial, chance: random.Random) -> AsyncIterator[None]:
    """Single jobs and batches for the length of the block, short and longer ones, some delayed, some failing once."""
    over = asyncio.Event()

    def job() -> dict[str, object]:
        if chance.random() < 0.05:
            return {"type": "picky", "payload": {"how": "later"}}
        delay = {"delay": chance.uniform(0.05, 1.0)} if chance.random() < 0.15 else {}
        seconds = chance.choice((0.0, 0.0, 0.01, 0.05, 0.3))
        return {"type": "journaled", "payload": {"seconds": seconds}, "priority": chance.randint(0, 10), **delay}

    async def submit(sizes: Callable[[], int]) -> None:
        while not over.is_set():
            if trial.acks.count - len(trial.watch.observed) < BACKLOG:
                await trial.offer_many([job() for _ in range(sizes())])
            await asyncio.sleep(chance.uniform(0.02, 0.1))

    async with trial.watching(), asyncio.TaskGroup() as group:
        group.create_task(submit(lambda: 1))
        group.create_task(submit(lambda: 1))
        group.create_task(submit(lambda: chance.randint(2, 20)))
        try:
            yield
        finally:
            over.set()


async def victim(trial: Trial, who: str, chance: random.Random) -> int:
    """The control process, or one of the open worker processes."""
    if who == "control":
        return trial.node.pid

    async def found() -> int:
        workers = await trial.node.workers()
        pids: list[int] = [worker["pid"] for worker in workers if worker["pid"]]
        return chance.choice(pids) if pids else 0

    return await wait_until(found, 60.0, "a worker")


async def judged(trial: Trial, told: str, seed: int) -> str:
    """The books after all has ended; fails with what a replay needs."""
    ended = await trial.settled(90.0)
    verdict = trial.verdict()
    assert ended and verdict.ok, f"SOAK_SEED={seed}; {told}\n{verdict}\n{trial.node.log[-6000:]}"  # noqa: PT018
    return (
        f"accepted {verdict.accepted} = completed {verdict.completed} + failed {verdict.failed}; "
        f"unacknowledged {verdict.unacknowledged}, started more than once {verdict.repeated}, violations 0"
    )


async def test_nothing_is_lost_over_many_rounds_of_kill_9(trial: Trial, seed: int, say: Say) -> None:
    chance = random.Random(seed)
    say(f"\nSOAK_SEED={seed} SOAK_ROUNDS={ROUNDS}: kill -9")
    await trial.start()
    for number in range(1, ROUNDS + 1):
        who, moment = chance.choice(("control", "worker", "worker")), chance.uniform(0.0, MOMENT_S)
        began = time.monotonic()
        async with load(trial, random.Random(f"{seed}/{number}")):
            await asyncio.sleep(moment)
            if who == "control":
                await trial.node.kill()
                await trial.start()
            else:
                # It may die by itself in this moment: its predecessor's loss may have closed it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(await victim(trial, who, chance), signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0.0, MOMENT_S))
        told = f"round {number}: {who} killed after {moment:.2f} s"
        books = await judged(trial, told, seed)
        say(f"{told}; {time.monotonic() - began:.1f} s; {books}")


@pytest.mark.parametrize("who", ["worker", "control", "all"])
async def test_nothing_is_lost_when_processes_stand_still_and_go_on(
    trial: Trial, seed: int, say: Say, who: str
) -> None:
    chance = random.Random(f"{seed}/{who}")
    say(f"\nSOAK_SEED={seed}: SIGSTOP and SIGCONT, {who}")
    trial.node.api.timeout = 60.0
    await trial.start()
    for seconds in STOPS_S:
        began = time.monotonic()
        async with load(trial, chance):
            await asyncio.sleep(chance.uniform(0.2, MOMENT_S))
            pids = [trial.node.pid] if who == "control" else [await victim(trial, "worker", chance)]
            if who == "all":
                pids = [trial.node.pid, *(worker["pid"] for worker in await trial.node.workers())]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            for pid in pids:
                # A worker that stood still beyond its timeouts may have been killed for it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            await trial.node.until_ready()
            await asyncio.sleep(chance.uniform(0.2, MOMENT_S))
        told = f"{who} stopped for {seconds:g} s"
        books = await judged(trial, told, seed)
        say(f"{told}; {time.monotonic() - began:.1f} s; {books}")
