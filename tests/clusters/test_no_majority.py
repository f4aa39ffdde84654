"""Two of three voters are gone: nobody leads, and whatever does not need a leader goes on."""

import os
import signal
from functools import partial

import pytest

from tests.clusters.cluster import Cluster, election, name_of
from tests.nodes import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# More than a lease has, by the values that trials have.
BEATS = 10
# A leader takes what lies in an inbox back after a second; who was held up for so long tries again.
TRIES = 5


@pytest.fixture(scope="module")
def algorithm() -> str:
    # One of three leads with the others.
    return "raft"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    # Room for all jobs of all tries on any node.
    return {"WORKER_COUNT": "64"}


async def offer_waiting(cluster: Cluster) -> set[str]:
    """Jobs that wait at the gate, some for each node."""
    return set(await cluster.offer_many([{"type": "journaled", "payload": {"gate": cluster.gate}}] * 6))


def begun(cluster: Cluster, pid: int | None = None) -> set[str]:
    """What has begun, by this process if one is given."""
    return {mark.id for mark in cluster.marks() if mark.event == "start" and pid in (None, mark.pid)}


def in_inbox(cluster: Cluster, worker: str) -> set[str]:
    """What was dispatched to this worker, and not taken."""
    with cluster.redis() as client:
        entries = client.lrange(f"hegemon:{{{cluster.cluster_id}}}:inbox:{worker}:5", 0, -1)
    assert isinstance(entries, list)
    return {entry[:36].decode() for entry in entries}


def dispatched(cluster: Cluster, worker: str, ids: set[str]) -> bool:
    """Whether something lies in its inbox, or everything has begun and nothing will."""
    return bool(in_inbox(cluster, worker)) or ids <= begun(cluster)


async def kill_once_it_has_dispatched(cluster: Cluster, leader: NodeProcess, worker: str, pid: int) -> set[str]:
    """Kill the leader when jobs lie in the inbox of this worker, whose process is left stopped; their ids."""
    for _ in range(TRIES):
        os.kill(pid, signal.SIGSTOP)
        ids = await offer_waiting(cluster)
        await wait_until(partial(dispatched, cluster, worker, ids), message="a dispatch")
        leader.signal(signal.SIGSTOP)
        if found := in_inbox(cluster, worker):
            await leader.kill()
            return found
        os.kill(pid, signal.SIGCONT)
        leader.signal(signal.SIGCONT)
    pytest.fail(f"nothing was left in the inbox of {worker}, {TRIES} times")


async def leaderless(node: NodeProcess) -> bool:
    """Whether it says that nobody leads."""
    view = await election(node)
    return view is not None and view["leader_id"] is None and not view["active"]


async def test_without_a_leader_what_runs_and_what_was_dispatched_goes_on_and_what_is_submitted_waits(
    cluster: Cluster,
) -> None:
    leader = await cluster.settle()
    survivor, other = (node for node in cluster.nodes if node is not leader)
    (mine,) = [worker for worker in await survivor.workers() if worker["node"] == name_of(survivor)]
    first: set[str] = set()

    async def given() -> set[str]:
        """What the survivor has begun: one that was not heard for a moment is given nothing that others can take."""
        first.update(await offer_waiting(cluster))
        await wait_until(lambda: first <= begun(cluster), message="all to be begun")
        return first & begun(cluster, mine["pid"])

    running = await wait_until(given, message="the survivor to be given some")
    await other.kill()
    dispatched = await kill_once_it_has_dispatched(cluster, leader, mine["id"], mine["pid"])
    await wait_until(lambda: leaderless(survivor), message="the one that is left to know of no leader")
    epochs, before = cluster.witnesses.epochs(), cluster.beats(mine["id"])
    await wait_until(lambda: cluster.beats(mine["id"]) >= before + BEATS, message="its worker to outlive its lease")

    # Accepted, and queued: nobody dispatches it.
    late = await survivor.submit("journaled")
    cluster.acks.write(late)
    assert (await survivor.job(late))["status"] == "pending"
    os.kill(mine["pid"], signal.SIGCONT)
    await wait_until(lambda: dispatched <= begun(cluster, mine["pid"]), message="what was dispatched to begin")
    cluster.open_gate()
    await wait_until(lambda: running | dispatched <= set(cluster.truth.completed()), message="both to be recorded")
    await wait_until(lambda: leaderless(survivor), message="the one that is left to say so again")
    assert cluster.witnesses.epochs() == epochs, "somebody led meanwhile"
    assert late not in begun(cluster)

    # With a second voter there is a majority, hence a leader; it also finds what the dead had begun.
    other.spawn()
    await cluster.settle()
    await wait_until(lambda: late in begun(cluster), message="what was submitted meanwhile to begin")
    await cluster.clear_verdict()
