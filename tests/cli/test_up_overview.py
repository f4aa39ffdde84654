"""What `hegemon up` knows of its cluster when it prints its one table."""

from typing import Any

import pytest

from hegemon.cli import up


class Node:
    """Answers as it is told, one question after the other, and then the last again."""

    def __init__(self, types: list[list[str] | None], leaders: list[str | None]) -> None:
        self._types, self._leaders = types, leaders

    async def types(self) -> list[str] | None:
        return self._types.pop(0) if len(self._types) > 1 else self._types[0]

    async def leader(self) -> str | None:
        return self._leaders.pop(0) if len(self._leaders) > 1 else self._leaders[0]


async def test_who_is_slow_or_between_two_leaders_is_asked_again() -> None:
    node: Any = Node([None, ["noop"]], ["node-1", None, None, "node-2"])
    assert await up._known(node) == (["noop"], "node-2")


async def test_a_cluster_without_handlers_is_not_waited_for() -> None:
    node: Any = Node([[], ["late"]], ["node-1"])
    assert await up._known(node) == ([], "node-1")


async def test_a_cluster_that_finds_no_leader_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "OVERVIEW_WITHIN_S", 0.0)
    node: Any = Node([None], [None])
    assert await up._known(node) == ([], None)
