"""The office: at most one holder an epoch, epochs that only grow, lost replies settled by the nonce."""

import asyncio
from typing import Any

import pytest

from hegemon.queue.errors import StoreUnavailable, WrongStore
from hegemon.queue.office_store import Office, OfficeStore
from tests.engine.parts import Jobs


async def take(offices: OfficeStore, seen: Office, node: str = "n1") -> Office | None:
    return await offices.take(seen, node=node, incarnation=f"{node}~0", url="http://x", now_ms=1, term=0)


class Lossy:
    """A collection whose next compare-and-set is carried out, and its reply lost."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    async def find_one_and_update(self, *args: Any, **kwargs: Any) -> Any:
        await self._collection.find_one_and_update(*args, **kwargs)
        raise StoreUnavailable("MongoDB")


def lossy(jobs: Jobs) -> None:
    """Let every compare-and-set lose its reply from now on."""
    collection: Any = Lossy(jobs.offices._meta)
    jobs.offices._meta = collection


async def test_a_new_cluster_has_a_vacant_office_of_epoch_zero(jobs: Jobs) -> None:
    assert await jobs.offices.read() == Office()


async def test_of_many_takers_exactly_one_wins_and_the_epoch_grows_by_one(jobs: Jobs) -> None:
    seen = await jobs.offices.read()
    for epoch in range(1, 4):
        taken = await asyncio.gather(*(take(jobs.offices, seen, f"n{i}") for i in range(8)))
        won = [office for office in taken if office is not None]
        assert len(won) == 1
        assert won[0].epoch == epoch
        seen = await jobs.offices.read()
        assert seen == won[0]


async def test_an_office_that_was_seen_too_long_ago_cannot_be_taken(jobs: Jobs) -> None:
    seen = await jobs.offices.read()
    first = await take(jobs.offices, seen)
    assert first is not None
    assert await take(jobs.offices, seen, "n2") is None
    assert (await jobs.offices.read()) == first


async def test_a_taking_whose_reply_was_lost_is_known_by_its_nonce(jobs: Jobs) -> None:
    seen = await jobs.offices.read()
    lossy(jobs)
    taken = await take(jobs.offices, seen)
    assert taken is not None
    assert (taken.epoch, taken.node) == (1, "n1")


async def test_a_lost_reply_of_a_taking_that_lost_is_no_win(jobs: Jobs) -> None:
    seen = await jobs.offices.read()
    first = await take(jobs.offices, seen)
    assert first is not None
    second = await take(jobs.offices, first, "n2")
    lossy(jobs)
    assert await take(jobs.offices, first, "n3") is None
    assert await jobs.offices.read() == second


async def test_a_new_generation_needs_the_office_and_survives_a_lost_reply(jobs: Jobs) -> None:
    held = await take(jobs.offices, await jobs.offices.read())
    assert held is not None
    raised = await jobs.offices.new_generation(held, "run-1")
    assert raised is not None
    assert (raised.generation, raised.run_id, raised.epoch) == (1, "run-1", 1)
    assert await jobs.offices.new_generation(held, "run-1") == raised, "the same step again is the same generation"
    plain = jobs.offices._meta
    lossy(jobs)
    again = await jobs.offices.new_generation(raised, "run-2")
    assert again is not None
    assert again.generation == 2
    jobs.offices._meta = plain
    await take(jobs.offices, again, "n2")
    assert await jobs.offices.new_generation(again, "run-3") is None


async def test_a_successor_keeps_the_generation_and_the_server_it_was_built_on(jobs: Jobs) -> None:
    held = await take(jobs.offices, await jobs.offices.read())
    assert held is not None
    raised = await jobs.offices.new_generation(held, "run-1")
    assert raised is not None
    heir = await take(jobs.offices, raised, "n2")
    assert heir is not None
    assert (heir.epoch, heir.generation, heir.run_id) == (2, 1, "run-1")


async def test_only_the_holder_can_resign(jobs: Jobs) -> None:
    first = await take(jobs.offices, await jobs.offices.read())
    assert first is not None
    second = await take(jobs.offices, first, "n2")
    assert second is not None
    await jobs.offices.resign(first)
    assert (await jobs.offices.read()).vacant is False
    await jobs.offices.resign(second)
    found = await jobs.offices.read()
    assert (found.vacant, found.epoch) == (True, 2)


async def test_incarnations_stay_enlisted_until_they_are_discharged(jobs: Jobs) -> None:
    await jobs.offices.enlist("n1~0", "n1", 1)
    await jobs.offices.enlist("n1~1", "n1", 2)
    await jobs.offices.enlist("n1~1", "n1", 3)
    assert await jobs.offices.enlisted() == {"n1~0": "n1", "n1~1": "n1"}
    await jobs.offices.discharge("n1~0")
    assert await jobs.offices.enlisted() == {"n1~1": "n1"}


async def test_a_database_of_another_cluster_is_refused(jobs: Jobs, cluster_id: str) -> None:
    await jobs.queries.prepare(cluster_id, "solo")
    with pytest.raises(WrongStore, match="belongs to a cluster with"):
        await jobs.queries.prepare("other", "solo")


async def test_nodes_that_are_there_decide_by_which_algorithm_all_elect(jobs: Jobs, cluster_id: str) -> None:
    await jobs.queries.prepare(cluster_id, "bully")
    await jobs.offices.enlist("n1~0", "n1", 1)
    await jobs.offices.agree("n1~0", "bully")
    await jobs.queries.prepare(cluster_id, "raft")
    await jobs.offices.enlist("n2~0", "n2", 2)
    with pytest.raises(WrongStore, match="runs with ELECTION_ALGORITHM=bully, this node has raft"):
        await jobs.offices.agree("n2~0", "raft")


async def test_the_first_node_of_a_cluster_that_left_in_order_may_change_the_algorithm(
    jobs: Jobs, cluster_id: str
) -> None:
    await jobs.queries.prepare(cluster_id, "bully")
    await jobs.offices.enlist("n2~0", "n2", 2)
    await jobs.offices.agree("n2~0", "raft")
    await jobs.offices.enlist("n1~1", "n1", 3)
    with pytest.raises(WrongStore, match="runs with ELECTION_ALGORITHM=raft"):
        await jobs.offices.agree("n1~1", "bully")
