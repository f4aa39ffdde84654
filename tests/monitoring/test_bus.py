"""Events reach who listens, in order and at once, and no listener can do an emitter harm."""

import pytest

from hegemon.events.bus import SUBSCRIBERS_MAX, Events, Recorded, unheard
from hegemon.events.cluster import NodeStopped, OfficeVacated


def events(boot: int = 3) -> Events:
    made = Events("n1", lambda: 1_760_000_000_000)
    made.begin(boot)
    return made


def test_events_are_numbered_from_one_within_a_start() -> None:
    heard: list[Recorded] = []
    told = events()
    told.subscribe(heard.append)
    for epoch in (7, 8):
        told.emit(OfficeVacated(epoch))
    assert [one.id for one in heard] == ["n1:3:1", "n1:3:2"]
    assert [one.event for one in heard] == [OfficeVacated(7), OfficeVacated(8)]
    assert {(one.at_ms, one.node) for one in heard} == {(1_760_000_000_000, "n1")}
    told.begin(4)
    told.emit(NodeStopped())
    assert heard[-1].id == "n1:4:1"


def test_a_subscriber_that_fails_harms_neither_the_emitter_nor_the_others() -> None:
    heard: list[Recorded] = []

    def broken(recorded: Recorded) -> None:
        raise RuntimeError(recorded.id)

    told = events()
    told.subscribe(broken)
    told.subscribe(heard.append)
    for _ in range(3):
        told.emit(NodeStopped())
    assert (len(heard), told.failures) == (3, 3)


def test_who_has_left_is_told_nothing_more() -> None:
    first: list[Recorded] = []
    second: list[Recorded] = []
    told = events()
    leave = told.subscribe(first.append)
    told.subscribe(second.append)
    told.emit(NodeStopped())
    leave()
    told.emit(NodeStopped())
    assert (len(first), len(second)) == (1, 2)


def test_there_is_a_bound_to_subscribers() -> None:
    told = events()
    for _ in range(SUBSCRIBERS_MAX):
        told.subscribe(lambda recorded: None)
    with pytest.raises(ValueError, match="at most"):
        told.subscribe(lambda recorded: None)


def test_before_a_node_has_its_boot_number_nobody_hears_anything() -> None:
    heard: list[Recorded] = []
    told = Events("n1", lambda: 0)
    told.subscribe(heard.append)
    told.emit(NodeStopped())
    unheard(NodeStopped())
    assert heard == []
