"""A voter's disk is full, or comes back empty: the rows of docs/operations.md, in this order on one cluster."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.cluster import Cluster, alive, name_of
from tests.nodes import NodeProcess
from tests.small_disk import SmallDisk, small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def algorithm() -> str:
    return "raft"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    """It stays until all are done: the voter goes on there."""
    with small_disk(tmp_path_factory.mktemp("raft") / "disk", 4) as made:
        yield made


def data_of(node: NodeProcess) -> Path:
    return Path(node.environment["DATA_DIR"])


async def lines(node: NodeProcess, event: str) -> list[dict[str, Any]]:
    """What the node remembers to have logged of this kind, whatever became of its log."""
    answer = (await node.api.get("/api/v1/logs", params={"grep": event})).raise_for_status()
    return [line for line in answer.json()["lines"] if event in json.dumps(line)]


async def follower(cluster: Cluster) -> NodeProcess:
    leader = await cluster.settle()
    return next(node for node in cluster.nodes if node is not leader)


async def test_a_voter_whose_disk_is_full_works_in_silence_and_votes_again_when_there_is_room(
    cluster: Cluster, disk: SmallDisk
) -> None:
    voter = await follower(cluster)
    others = [node for node in cluster.nodes if node is not voter]
    before = data_of(voter)
    async with cluster.load():
        await voter.kill()
        # Its log is on the same disk.
        voter.environment["DATA_DIR"] = str(disk.path / "data")
        voter._log = disk.path / "log"
        shutil.copytree(before, data_of(voter))
        disk.fill()
        await voter.start()
        # It cannot keep that it lives anew, so it says nothing. To run jobs it needs no disk.
        assert await lines(voter, "raft_state_not_saved")
        assert await voter.workers()
        await wait_until(lambda: mute(others, name_of(voter), cluster), message="the others to do without it")
        await cluster.progress()
        await wait_until(lambda: mute(others, name_of(voter), cluster), message="the others to do without it still")
        assert voter.log == "", "there was room"
        disk.free()
        await cluster.settle()
        await cluster.progress()
    assert await lines(voter, "raft_state_saved")
    assert any(json.loads(line).get("lines_lost") for line in voter.log.split("\n")[:-1])
    # With one of the other two gone it is needed for a majority.
    await others[0].kill()
    await cluster.settle()
    others[0].spawn()
    await cluster.settle()
    await cluster.clear_verdict()


async def mute(others: list[NodeProcess], name: str, cluster: Cluster) -> bool:
    views = await cluster.views(others)
    return len(views) == len(others) and all(name not in alive(view) for view in views.values())


async def test_a_voter_that_comes_back_without_its_disk_votes_again(cluster: Cluster) -> None:
    """That it deposes nobody is shown in virtual time: a machine that is busy enough changes leaders by itself."""
    voter = await follower(cluster)
    async with cluster.load():
        await voter.kill()
        shutil.rmtree(data_of(voter))
        voter.spawn()
        leader = await cluster.settle()
        # Two of three are left: the successor has its vote, or is it.
        gone = leader if leader is not voter else next(node for node in cluster.nodes if node is not voter)
        await gone.kill()
        await cluster.settle()
        await cluster.progress()
        # And another, most often the one that led.
        shutil.rmtree(data_of(gone))
        gone.spawn()
        await cluster.settle()
    verdict = await cluster.clear_verdict()
    assert verdict.completed == verdict.accepted > 0


async def test_voters_that_all_come_back_without_their_disks_elect_a_leader_with_a_later_epoch(
    cluster: Cluster,
) -> None:
    await cluster.settle()
    epochs = cluster.witnesses.epochs()
    async with cluster.load():
        await cluster.progress()
        await asyncio.gather(*(node.kill() for node in cluster.nodes))
        for node in cluster.nodes:
            shutil.rmtree(data_of(node))
        for node in cluster.nodes:
            node.spawn()
        await cluster.settle()
        await cluster.progress()
    assert max(cluster.witnesses.epochs()) > max(epochs)
    await cluster.clear_verdict()
