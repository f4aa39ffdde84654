"""What a node takes for a sign of life of another."""

from collections.abc import Callable
from typing import Any

from hegemon.cluster.witness import UNKNOWN_PATIENCE_S, Witness
from hegemon.queue.index import IndexCounts


class Index:
    """A registry of n2 alone, which holds the office and has no counter: it rebuilds the index."""

    beat = 0
    moves = 0

    async def look(self) -> tuple[int, str, int | None, int]:
        return 4, "n2", None, self.moves

    async def counts(self) -> IndexCounts:
        return IndexCounts(0, 0, 0, {}, {}, {"n2~0": ({"id": "n2"}, self.beat)})


def make_witness(index: Any, looked: Callable[[frozenset[str]], None]) -> Witness:
    offices: Any = None
    return Witness(
        node="n1",
        index=index,
        offices=offices,
        beat_s=1.0,
        interval_s=1.0,
        holding=lambda: False,
        looked=looked,
        fit=lambda reached: None,
        registered=lambda nodes: None,
    )


async def test_a_holder_that_rebuilds_the_index_is_silent_only_once_the_rebuild_stands_still() -> None:
    index = Index()
    witness = make_witness(index, lambda moved: None)
    for index.moves in (1, 2, 3):
        await witness._look_at_office()
        assert not witness.vacated(0.0)
        witness._still_since_s -= 2 * UNKNOWN_PATIENCE_S
        assert witness.vacated(0.0)
    await witness._look_at_office()
    assert witness.vacated(0.0), "nothing has moved since"


async def test_a_beat_that_rises_is_a_life_and_one_that_falls_with_redis_is_none() -> None:
    index = Index()
    moved = list[frozenset[str]]()
    witness = make_witness(index, moved.append)
    for index.beat in (7, 8, 8, 3, 3, 4):
        await witness._look_at_registry()
    assert [bool(lives) for lives in moved] == [False, True, False, False, False, True]
