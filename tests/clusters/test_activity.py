"""What a leader said before it was killed, and what its death leads to, is told by every node that is left."""

from typing import Any

import pytest

from tests.clusters.cluster import Cluster, name_of
from tests.nodes import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def activity(node: NodeProcess, /, **params: Any) -> list[dict[str, Any]]:
    """All events, oldest first."""
    found: list[dict[str, Any]] = []
    after = "0"
    while True:
        reply = await node.api.get("/api/v1/activity", params={"limit": 200, "after": after, **params})
        told = reply.raise_for_status().json()
        assert told["complete"]
        found += told["events"]
        if len(told["events"]) < 200:
            return found
        after = told["next"]


def of(events: list[dict[str, Any]], node: str, kind: str, **fields: Any) -> list[dict[str, Any]]:
    """Those of this node and kind with these fields."""
    return [
        event
        for event in events
        if (event["node"], event["kind"]) == (node, kind) and event["fields"].items() >= fields.items()
    ]


async def test_the_death_of_a_leader_is_in_the_activity_of_the_others_with_what_it_said_before(
    cluster: Cluster,
) -> None:
    leader = await cluster.settle()
    dead = name_of(leader)
    before = await wait_until(lambda: _said(leader), message="the leader's own words")
    await leader.kill()
    await cluster.leader(other_than=leader)
    survivors = [node for node in cluster.nodes if node is not leader]
    successor = await cluster.settle()  # the one that stays

    asked = survivors[0]

    async def told() -> list[dict[str, Any]]:
        node = asked
        events = await activity(node)
        mine, his = name_of(node), name_of(successor)
        since = [event for event in events if int(event["cursor"]) > int(before[-1]["cursor"])]
        enough = (
            of(since, mine, "election.leader_changed", leader=his)
            and of(since, his, "office.active")
            # By whoever led when its lease ran out.
            and any(of(since, name_of(one), "node.lost", member=dead) for one in survivors)
        )
        return events if enough else []

    for asked in survivors:
        events = await wait_until(told, message=f"{name_of(asked)} to tell of it")
        said = {event["id"]: event for event in events}
        assert all(said.get(event["id"]) == event for event in before)
    # Both tell the same, in the same order.
    one, other = [await activity(node) for node in survivors]
    shorter = min(len(one), len(other))
    assert one[:shorter] == other[:shorter]
    leader.spawn()
    await cluster.settle()


async def _said(leader: NodeProcess) -> list[dict[str, Any]]:
    """What the leader said and is told to all, once that it is active is among it."""
    events = await activity(leader, node=name_of(leader))
    return events if of(events, name_of(leader), "office.active") else []
