"""The leader tells who comes and goes: by the list of incarnations, from its first look on."""

import asyncio
from typing import Any

from hegemon.cluster.upkeep import Retention, Upkeep
from hegemon.events.cluster import NodeJoined, NodeLeft, NodeLost
from hegemon.events.kind import DomainEvent
from hegemon.queue.clock import ClusterClock


class Stores:
    """The list, and an index in which nothing is lost."""

    def __init__(self, **enlisted: str) -> None:
        self.list = {name.replace("_", "~"): node for name, node in enlisted.items()}

    async def enlisted(self) -> dict[str, str]:
        return dict(self.list)

    async def discharge(self, incarnation: str) -> None:
        del self.list[incarnation]

    async def close_node(self, incarnation: str) -> None:
        """Nothing of it in the index."""

    async def live_of(self, incarnation: str) -> Any:
        for page in ([incarnation],):
            yield page

    async def probe(self, ids: list[str]) -> dict[str, int]:
        return dict.fromkeys(ids, 0)

    async def reindex(self, ids: list[str]) -> int:
        return len(ids)


def upkeep(stores: Any, told: list[DomainEvent]) -> Upkeep:
    return Upkeep(
        index=stores,
        member=stores,
        queries=stores,
        offices=stores,
        recovery=stores,
        clock=ClusterClock(),
        lease_s=1.0,
        retention=Retention(0, 0),
        deaths=asyncio.Event(),
        emit=told.append,
    )


async def test_who_was_there_before_is_no_news_and_whoever_comes_or_goes_in_order_is() -> None:
    told: list[DomainEvent] = []
    stores = Stores(n1_0="n1", n2_0="n2")
    leader = upkeep(stores, told)
    await leader._sweep()
    assert told == []
    stores.list["n3~0"] = "n3"
    await leader._sweep()
    await stores.discharge("n2~0")
    await leader._sweep()
    await leader._sweep()
    assert told == [NodeJoined("n3", "n3~0"), NodeLeft("n2", "n2~0")]


async def test_whose_beat_stood_still_is_lost_once_and_has_not_left() -> None:
    told: list[DomainEvent] = []
    leader = upkeep(Stores(n1_0="n1", n2_0="n2"), told)
    await leader._sweep()
    leader._silent = ["n2~0"]
    await leader._sweep()
    await leader._sweep()
    assert told == [NodeLost("n2", "n2~0", 1)]
