"""Raft as the node makes it from its settings: transport, driver's thread, shell and disk together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from hegemon.cluster.electors import ElectionFault, make_election
from hegemon.cluster.raft_election import RaftElection
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.cluster.settings import load
from hegemon.election.contract import Member, Role, Timing
from tests.nodes import free_port
from tests.waiting import wait_until

# Nobody is missed on a machine that is busy with other things.
TIMING = Timing(heartbeat_s=1.0, silence_s=20.0, timeout_s=60.0)


def free_ports(count: int) -> list[int]:
    """Free ports that nobody else of this run gets."""
    return [free_port() for _ in range(count)]


def fitness(node: RaftElection) -> dict[str, bool]:
    return {member.id: member.fit for member in node.shell.view.members}


def election(name: str, directory: Path, ports: list[int]) -> RaftElection:
    peers = ",".join(f"n{i + 1}@127.0.0.1:{port}" for i, port in enumerate(ports))
    port = ports[int(name[1:]) - 1]
    settings = load(
        {
            "NODE_ID": name,
            "ELECTION_ALGORITHM": "raft",
            "CLUSTER_SECRET": "a secret of thirty-two bytes, or more",
            "DATA_DIR": str(directory / name),
            "CLUSTER_PORT": str(port),
            "CLUSTER_PEERS": peers,
        },
        None,
    )
    me = Member(name, incarnation=1, address=f"127.0.0.1:{port}")
    made = make_election(settings, me, TIMING, lambda: 0, random.Random(1))
    assert isinstance(made, RaftElection)
    return made


async def stand(node: RaftElection, others: int) -> None:
    """Let it think that it has heard of no leader for long, as soon as the others hear it."""
    driver = node._driver
    assert driver is not None
    core = driver._core
    assert isinstance(core, RaftVoter)
    await wait_until(lambda: len(node.transport._sessions.peers) == others and not core._out.durable.blank)
    driver._order(lambda now: setattr(core, "_deadline", now))


@asynccontextmanager
async def opened(*elections: RaftElection) -> AsyncIterator[None]:
    tasks = []
    try:
        for each in elections:
            await each.open()
            each.recorded(0)
            tasks.append(asyncio.create_task(each.shell.run()))
        yield
    finally:
        for each in elections:
            await each.close()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_two_voters_made_from_settings_elect_hand_over_and_know_who_is_fit(tmp_path: Path) -> None:
    ports = free_ports(2)
    nodes = {name: election(name, tmp_path, ports) for name in ("n1", "n2")}
    async with opened(*nodes.values()):
        await stand(nodes["n1"], 1)
        await wait_until(lambda: any(node.shell.wanted for node in nodes.values()))
        leader = next(name for name, node in nodes.items() if node.shell.wanted)
        other = "n2" if leader == "n1" else "n1"
        nodes[other].shell.fit(False)
        await wait_until(lambda: fitness(nodes[leader]) == {leader: True, other: False})
        nodes[other].shell.fit(True)
        await wait_until(lambda: fitness(nodes[leader]) == {leader: True, other: True})
        await nodes[leader].shell.resign("step-down", 600.0)
        await wait_until(lambda: nodes[other].shell.wanted is not None)
        assert nodes[leader].shell.view.role is Role.RESIGNED
        assert nodes[leader].traffic["datagrams_out"] > 0
        assert nodes[leader].failed is None


async def test_a_broken_election_is_not_kept_quiet(tmp_path: Path) -> None:
    async with opened(broken := election("n1", tmp_path, free_ports(1))):
        broken._fail(OSError("the disk is full"))
        with pytest.raises(ElectionFault, match="the disk is full"):
            async with asyncio.timeout(30):
                await broken.watch()


async def test_a_data_dir_of_another_node_is_refused_before_anything_listens(tmp_path: Path) -> None:
    ports = free_ports(1)
    async with opened(first := election("n1", tmp_path, ports)):
        await stand(first, 0)
        await wait_until(lambda: first.shell.wanted is not None)
    (tmp_path / "n1").rename(tmp_path / "n2")
    stranger = election("n2", tmp_path, [*ports, *free_ports(1)])
    with pytest.raises(ElectionFault, match="belongs to node n1"):
        await stranger.open()
    await stranger.close()
