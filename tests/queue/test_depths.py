"""How much waits in each queue, as the script finds it in a real index."""

import msgspec
import pytest

from hegemon.queue.depths import LOOKED_AT, QueueDepth
from hegemon.queue.entries import entry_text
from tests.engine.parts import Index, document, place


async def depths(index: Index) -> dict[str, QueueDepth]:
    return {depth.queue: depth for depth in await index.member.depths()}


async def now_ms(index: Index) -> int:
    seconds, micros = await index.redis.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def test_an_empty_index_has_no_queues(index: Index) -> None:
    assert await depths(index) == {}


async def test_each_job_is_counted_in_its_queue_by_where_it_is(index: Index) -> None:
    now = await now_ms(index)
    ready = [document(seq, queue=queue, priority=p) for seq, queue, p in ((1, "a", 5), (2, "a", 9), (3, "b", 5))]
    due = now + 3_600_000
    later = [document(due * 1000, queue="b", more={"due": due}) for _ in range(2)]
    parked = document(4, queue="a", type_="unknown")
    await index.add(*ready, *later, parked)
    await index.worker("w1")
    await index.give("w1", ready[2])
    # It stands behind the first of its list: both go, and the first comes back as it was.
    first = ready[0]
    moved, set_aside = await index.leader.dispatch(
        [(place(first), [(entry_text(first), "w1"), (entry_text(parked), "!type:unknown")])]
    )
    assert (moved, set_aside) == (1, 1)
    found = await depths(index)
    counted = {queue: (d.ready, d.delayed, d.held, d.parked) for queue, d in found.items()}
    assert counted == {"a": (1, 0, 1, 1), "b": (0, 2, 1, 0)}
    assert found["b"].oldest_age_s is None, "what is not due, or is held, does not wait"


@pytest.mark.parametrize("where", ["ready", "parked"])
async def test_the_oldest_that_could_run_gives_the_age_whatever_its_priority(index: Index, where: str) -> None:
    now = await now_ms(index)
    old = document((now - 90_000) * 1000, priority=1, type_="unknown")
    await index.add(old, document((now - 10_000) * 1000, priority=9))
    if where == "parked":
        await index.leader.dispatch([(place(old), [(entry_text(old), "!type:unknown")])])
    age_s = (await depths(index))["default"].oldest_age_s
    assert age_s is not None
    assert age_s >= 90.0
    assert age_s <= 90.0 + (await now_ms(index) - now) / 1000


async def test_what_is_beyond_those_that_are_looked_at_is_estimated_and_its_sum_is_right(index: Index) -> None:
    due = await now_ms(index) + 3_600_000
    many = [
        document((due + i) * 1000, queue="a" if i % 4 else "b", more={"due": due + i}) for i in range(2 * LOOKED_AT)
    ]
    for first in range(0, len(many), 1000):
        await index.add(*many[first : first + 1000])
    found = await depths(index)
    assert {queue: depth.delayed for queue, depth in found.items()} == {"a": 3000, "b": 1000}


async def test_figures_that_a_node_left_are_there_for_others_until_they_are_forgotten(index: Index) -> None:
    await index.member.tell_figures("n1", b"one")
    await index.member.tell_figures("n2", msgspec.json.encode({"two": 2}))
    await index.member.tell_figures("n1", b"one again")
    assert await index.member.told_figures() == {"n1": b"one again", "n2": b'{"two":2}'}
    await index.member.forget_figures(["n2"])
    assert set(await index.member.told_figures()) == {"n1"}
