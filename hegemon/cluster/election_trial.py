"""A trial of an election: a local cluster under a steady load, its leader ended again and again, every step timed.

What counts is seen from outside: the kill is ours, the first dispatch is the first start, in the handlers' journal, of
a job that was submitted after the old leader was gone, so that nobody but its successor can have dispatched it. That
job runs on a survivor, since the killed node's workers die with it. The same start is read from MongoDB as well, by the
cluster's clock, which is this machine's. The steps between are what the nodes and the office say: they explain the
figure, and decide nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
from pymongo.errors import PyMongoError

from hegemon.cluster.local import Listener, LocalCluster
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_node import NodeProcess
from hegemon.cluster.local_plan import free_run, make_plan
from hegemon.cluster.local_security import secured
from hegemon.cluster.trial_load import HANDLERS, JOB_TYPE, Journal, Line, Load, Verdict, judge
from hegemon.queue import mongo
from hegemon.queue.states import LIVE

LOAD_PER_S: Final = 40.0
LOOK_WITHIN_S: Final = 5.0
STEADY_WITHIN_S: Final = 60.0
DISPATCH_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 60.0
DRAIN_WITHIN_S: Final = 40.0
RECORDED_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.02
_LOOK_S: Final = 0.1
# Lines of several processes may be written in another order than their moments.
_STRAGGLERS_S: Final = 0.05
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH")


class TrialError(Exception):
    """The trial cannot go on: the cluster did not settle, or nobody took the leader's place."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One leader's end. All `_s` are seconds since then; None where it was not seen. `detected_s`: the first survivor
    knew no leader, or another one; `elected_s`: the successor had won; `office_s`: it held the office; `dispatched_s`:
    the first job that only it can have dispatched began on node `started_on`; `recorded_s`: the same as that job's
    document in MongoDB has it, to a millisecond. `gap_s` is the longest time about it without any start, to within one
    pause of the load."""

    algorithm: str
    nodes: int
    number: int
    how: str
    leader: str
    successor: str
    epoch_before: int
    epoch_after: int
    detected_s: float | None
    elected_s: float | None
    office_s: float | None
    dispatched_s: float
    gap_s: float
    started_on: str
    recorded_s: float | None = None


class Calm(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nothing was disturbed: changes of the office (each one needless), and the nodes' messages to each
    other per second, all nodes together; None if they do not count them."""

    algorithm: str
    nodes: int
    seconds: float
    changes: int
    messages_per_s: float | None


class Trial:
    """A running cluster under load. Made by `trial()`."""

    def __init__(self, cluster: LocalCluster, journal: Journal, load: Load, database: mongo.Database) -> None:
        self.cluster = cluster
        self.journal = journal
        self.load = load
        self.rounds: list[Round] = []
        self.ended_ns = 0  # when the last leader was ended, on CLOCK_MONOTONIC as the journal has it
        self._ended: list[NodeProcess] = []
        self._jobs = database.get_collection("jobs")
        self._meta = database.get_collection("cluster")
        self._http = cluster.nodes[0].client(timeout_s=LOOK_WITHIN_S)

    @property
    def algorithm(self) -> str:
        """The election algorithm."""
        return self.cluster.algorithm

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- looking -------------------------------------------------------------------------------------------------------

    async def office(self) -> dict[str, Any]:
        """The office's document: node, epoch, vacant, taken_at; empty while there is none."""
        try:
            found: dict[str, Any] = await self._meta.find_one({"_id": "office"}) or {}
        except PyMongoError as error:
            raise TrialError(f"MongoDB does not answer: {error}") from error
        return found

    async def view(self, node: NodeProcess) -> dict[str, Any] | None:
        """What a node says of the election; None if it does not answer."""
        try:
            answer = await self._http.get(f"{node.plan.url}/api/v1/election", headers=node.headers())
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError):
            return None
        return found if answer.status_code == 200 else None

    async def ready(self, node: NodeProcess) -> bool:
        """Whether a node takes requests."""
        try:
            return (await self._http.get(f"{node.plan.url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def steady(self, settle_s: float = 1.0) -> NodeProcess:
        """The leader, once it has held one epoch for `settle_s` while every node was ready and agreed. TrialError."""
        deadline = time.monotonic() + STEADY_WITHIN_S
        since, seen, said = time.monotonic(), (-1, ""), "nobody leads"
        while time.monotonic() < deadline:
            office = await self.office()
            now = (int(office.get("epoch", 0)), "" if office.get("vacant", True) else str(office["node"]))
            views = await asyncio.gather(*(self.view(node) for node in self.cluster.nodes))
            ready = all(await asyncio.gather(*(self.ready(node) for node in self.cluster.nodes)))
            leaders = {None if view is None else view["leader_id"] for view in views}
            active = any(view and view["node_id"] == now[1] and view["active"] for view in views)
            if now != seen or leaders != {now[1]} or not ready or not active:
                since, seen = time.monotonic(), now
                said = f"the office is with {now[1] or 'nobody'}, the nodes name {sorted(map(str, leaders))}"
            elif time.monotonic() - since >= settle_s:
                return next(node for node in self.cluster.nodes if node.plan.id == now[1])
            await asyncio.sleep(_LOOK_S)
        raise TrialError(f"the cluster did not settle within {STEADY_WITHIN_S:g} s: {said}")

    async def calm(self, seconds: float) -> Calm:
        """Watch for so long while nothing is disturbed."""
        began, before, sent = time.monotonic(), await self.office(), await self._sent()
        await asyncio.sleep(seconds)
        lasted, after, sent_later = time.monotonic() - began, await self.office(), await self._sent()
        return Calm(
            algorithm=self.algorithm,
            nodes=len(self.cluster.nodes),
            seconds=lasted,
            changes=int(after.get("epoch", 0)) - int(before.get("epoch", 0)),
            messages_per_s=None if sent is None or sent_later is None else (sent_later - sent) / lasted,
        )

    async def _sent(self) -> int | None:
        """Datagrams and streams that all nodes have sent; None if a node does not say."""
        views = await asyncio.gather(*(self.view(node) for node in self.cluster.nodes))
        counts = [sent(view.get("traffic") or {}) if view else None for view in views]
        return None if None in counts else sum(count for count in counts if count is not None)

    # -- disturbing ----------------------------------------------------------------------------------------------------

    async def end_leader(self, number: int, how: signal.Signals = signal.SIGKILL) -> Round:
        """End the present leader's process and time what follows, until a successor's first job has begun.

        The process stays down; `revive()` starts it again. TrialError if nobody takes its place in time.
        """
        leader = await self.steady(0.0)
        before = await self.office()
        self.load.avoid = leader.plan.id
        await asyncio.sleep(2 / LOAD_PER_S)  # what is on its way to it has arrived
        self.ended_ns = ended_ns = time.monotonic_ns()
        ended_ms = time.time_ns() // 1_000_000
        self._ended.append(leader)
        first = await self._end(leader, how)
        start = await self._first_start(first, leader)
        after = await self.office()
        recorded_ms = await self._recorded_start(start.number)
        views = [await self.view(node) for node in self.cluster.nodes if node is not leader]
        successor = str(after.get("node"))
        steps = Steps(views, leader.plan.id, successor, ended_ms)
        dispatched_s = (start.at_ns - ended_ns) / 1e9
        done = Round(
            algorithm=self.algorithm,
            nodes=len(self.cluster.nodes),
            number=number,
            how=how.name,
            leader=leader.plan.id,
            successor=successor,
            epoch_before=int(before["epoch"]),
            epoch_after=int(after["epoch"]),
            detected_s=steps.detected_s,
            elected_s=steps.elected_s,
            office_s=(int(after["taken_at"]) - ended_ms) / 1000,
            dispatched_s=dispatched_s,
            gap_s=self.journal.longest_gap_s(ended_ns - 200_000_000, start.at_ns + 50_000_000),
            started_on=start.node,
            recorded_s=None if recorded_ms is None else (recorded_ms - ended_ms) / 1000,
        )
        if done.epoch_after <= done.epoch_before:
            raise TrialError(f"{successor} dispatched in epoch {done.epoch_after}, which is not above the last")
        self.rounds.append(done)
        return done

    async def _end(self, leader: NodeProcess, how: signal.Signals) -> int:
        """End it; the number of the first job that is submitted once it cannot dispatch any more."""
        if how is signal.SIGKILL:
            await self.cluster.kill(leader)
        else:
            before = (await self.office())["epoch"]
            leader.signal(how)
            deadline = time.monotonic() + DISPATCH_WITHIN_S
            while time.monotonic() < deadline:
                office = await self.office()
                if office["epoch"] > before or office.get("vacant"):
                    break
                await asyncio.sleep(_POLL_S / 2)
        return self.load.number + 1

    async def _first_start(self, first: int, leader: NodeProcess) -> Line:
        deadline = time.monotonic() + DISPATCH_WITHIN_S
        while time.monotonic() < deadline:
            if (seen := self.journal.first_start(first)) is not None:
                await asyncio.sleep(_STRAGGLERS_S)
                return self.journal.first_start(first) or seen
            await asyncio.sleep(_POLL_S)
        raise TrialError(
            f"no job was dispatched within {DISPATCH_WITHIN_S:g} s of the end of {leader.plan.id}, which led"
        )

    async def _recorded_start(self, number: int) -> int | None:
        """When this job began, in milliseconds of the cluster's clock, as MongoDB has it once the job is recorded."""
        deadline = time.monotonic() + RECORDED_WITHIN_S
        while time.monotonic() < deadline:
            # The answer to its submission may come after its end.
            names = [name for name, each in self.load.acknowledged.items() if each == number]
            try:
                found = await self._jobs.find_one({"_id": {"$in": names}, "status": "completed"}, {"started_at": 1})
            except PyMongoError as error:
                raise TrialError(f"MongoDB does not answer: {error}") from error
            if found is not None:
                return int(found["started_at"])
            await asyncio.sleep(_POLL_S)
        return None

    async def revive(self) -> None:
        """Start every leader that was ended again, and let it have its share of the load. One that was told to stop may
        still be draining: it is waited for, and killed after a while."""
        while self._ended:
            node = self._ended.pop()
            try:
                async with asyncio.timeout(DRAIN_WITHIN_S):
                    await node.wait()
            except TimeoutError:
                await self.cluster.kill(node)
            await self.cluster.revive(node)
        self.load.avoid = None

    # -- judging -------------------------------------------------------------------------------------------------------

    async def verdict(self) -> Verdict:
        """Once no job of ours is live, or the time is up: what became of every one. The load must have ended."""
        live = {"type": JOB_TYPE, "status": {"$in": sorted(LIVE)}}
        deadline = time.monotonic() + END_WITHIN_S
        while await self._jobs.find_one(live, {"_id": 1}) is not None and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_S)
        fields = {"status": 1, "attempt": 1, "payload": 1}
        documents = [document async for document in self._jobs.find({"type": JOB_TYPE}, fields)]
        return judge(self.load.acknowledged, documents, self.journal.look(), self.load.unanswered)


class Steps:
    """What the survivors' own histories say of a change: seconds since the old leader's end, None if not seen.

    `views` are answers of /api/v1/election; their times are those of the cluster's clock, which is this machine's.
    """

    def __init__(self, views: list[dict[str, Any] | None], leader: str, successor: str, ended_ms: int) -> None:
        self.detected_s: float | None = None
        self.elected_s: float | None = None
        for view in filter(None, views):
            for change in view.get("last_changes") or ():
                after_s = (datetime.fromisoformat(change["at"]).timestamp() * 1000 - ended_ms) / 1000
                if after_s < 0:
                    continue
                if change.get("leader") != leader:
                    self.detected_s = min(after_s, after_s if self.detected_s is None else self.detected_s)
                if change.get("what") == "won" and view["node_id"] == successor:
                    self.elected_s = min(after_s, after_s if self.elected_s is None else self.elected_s)


def sent(traffic: Mapping[str, int]) -> int | None:
    """How many messages a node's counters say that it sent: datagrams and streams; None if it does not count them."""
    counts = [traffic[name] for name in ("datagrams_out", "streams_out") if name in traffic]
    return sum(counts) if counts else None


@asynccontextmanager
async def trial(
    algorithm: str | None,
    nodes: int,
    listener: Listener,
    *,
    settings: Mapping[str, str] | None = None,
    secure: bool = False,
    load_per_s: float = LOAD_PER_S,
    job_s: float = 0.0,
) -> AsyncIterator[Trial]:
    """A cluster of its own in a temporary directory, under a load that runs until `Trial.load.stop()` or the block's
    end; with logins and TLS if it is to be `secure`. It takes nothing from .env or the environment but `settings`.
    LocalError, EmbeddedError, TrialError.
    """
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with LocalDirectory.open(None) as directory:
        journal = Journal(directory.path / "journal")
        own = {"HANDLERS": HANDLERS, "TRIAL_JOURNAL": str(journal.path), "METRICS_PORT": "0", "LOG_FORMAT": "json"}
        given, home = {**passed_on, **own, **(settings or {})}, directory.home()
        if secure:
            given, _ = secured(given, home, env_file=None)
        plan = make_plan(given, home, port=free_run(nodes), nodes=nodes, algorithm=algorithm, env_file=None)
        if plan.admin_unset:
            plan = plan.telling({"ADMIN_PASSWORD": directory.admin_password() or ""})
        cluster = LocalCluster(plan, directory, listener)
        hurry = asyncio.Event()
        hurry.set()
        try:
            await cluster.start()
            async with _under_load(cluster, journal, load_per_s, job_s) as running:
                yield running
        finally:
            await cluster.stop(hurry)


@asynccontextmanager
async def _under_load(cluster: LocalCluster, journal: Journal, per_s: float, job_s: float) -> AsyncIterator[Trial]:
    client = mongo.connect(cluster.mongodb_uri, timeout=timedelta(seconds=5))
    load = Load(cluster.nodes, per_second=per_s, job_s=job_s)
    running = Trial(cluster, journal, load, client["hegemon"])
    try:
        load.start()
        yield running
    finally:
        await load.stop()
        await running.close()
        client.close()
