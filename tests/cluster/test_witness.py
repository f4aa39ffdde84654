"""What a node takes for a sign of life of another."""

from typing import Any

from hegemon.cluster.witness import Witness
from hegemon.queue.index import IndexCounts


class Index:
    """A registry of n2 alone."""

    beat = 0

    async def counts(self) -> IndexCounts:
        return IndexCounts(0, 0, 0, {}, {}, {"n2~0": ({"id": "n2"}, self.beat)})


async def test_a_beat_that_rises_is_a_life_and_one_that_falls_with_redis_is_none() -> None:
    index: Any = Index()
    offices: Any = None
    moved = list[frozenset[str]]()
    witness = Witness(
        node="n1",
        index=index,
        offices=offices,
        beat_s=1.0,
        interval_s=1.0,
        holding=lambda: False,
        looked=moved.append,
        fit=lambda reached: None,
        registered=lambda nodes: None,
    )
    for index.beat in (7, 8, 8, 3, 3, 4):
        await witness._look_at_registry()
    assert [bool(lives) for lives in moved] == [False, True, False, False, False, True]
