"""A leader on a host that its peers cannot reach any more, while both stores still can."""

from pathlib import Path

import pytest

from tests.clusters.cluster import name_of
from tests.clusters.network import on_network, unavailable
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "namespaces can be made here")


async def test_a_raft_leader_alone_gives_up_the_majority_goes_on_and_all_agree_after_healing(tmp_path: Path) -> None:
    async with on_network(tmp_path, algorithm="raft", count=3) as (cluster, _, _):
        leader = await cluster.settle()
        before = cluster.witnesses.epochs()[-1]
        async with cluster.load():
            await cluster.progress()
            cluster.network.part([name_of(leader)], cluster.others(leader))
            await cluster.leader(other_than=leader)

            async def stood_down() -> bool:
                view = (await cluster.views([leader])).get(name_of(leader))
                return view is not None and not view["is_leader"]

            await wait_until(stood_down, message="the one alone to stand down")
            await cluster.progress()
            cluster.network.heal()
            await cluster.progress()
        await cluster.settle()
        assert cluster.witnesses.epochs()[-1] > before
        await cluster.clear_verdict()
