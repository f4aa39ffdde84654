"""The judges of leadership must turn red for each kind of forgery, and stay green for what is allowed."""

from typing import Any

import msgspec

from tests.clusters.sightings import Fence, MarkerSeen, OfficeSeen, Sighting, unlawful

PREFIX = "hegemon:{c}:"
BEAT, TAKE, ADD = "b" * 40, "a" * 40, "c" * 40


def seen(node: str, epoch: int, *, held: bool = True, life: int = 1) -> Sighting:
    return Sighting(node, life, 1.0, 1.1, epoch, epoch, held, held, node)


def office(epoch: int, node: str, nonce: str, **more: Any) -> OfficeSeen:
    return msgspec.structs.replace(OfficeSeen(1.0, epoch, 1, node, nonce, False, epoch), **more)


HONEST = [seen("n1", 1), seen("n2", 1, held=False), seen("n1", 1, held=False), seen("n2", 2), seen("n1", 2, held=False)]
OFFICES = [office(1, "n1", "x"), office(1, "n1", "x", vacant=True), office(2, "n2", "y", generation=2)]
MARKERS = [MarkerSeen(1.0, 1, 1, 1), MarkerSeen(1.0, 1, 1, 2), MarkerSeen(1.0, 2, 2, 2)]


def kinds(
    sightings: list[Sighting] = HONEST, offices: list[OfficeSeen] = OFFICES, markers: list[MarkerSeen] = MARKERS
) -> set[str]:
    return {violation.kind for violation in unlawful(sightings, offices, markers)}


def test_an_honest_succession_is_lawful() -> None:
    assert unlawful(HONEST, OFFICES, MARKERS) == []


def test_two_nodes_that_say_they_hold_one_epoch_are_seen() -> None:
    assert kinds([*HONEST, seen("n1", 2)]) == {"two_holders"}


def test_two_lives_of_one_node_that_hold_one_epoch_are_seen() -> None:
    assert kinds([*HONEST, seen("n2", 2, life=9)]) == {"two_holders"}


def test_a_holder_that_the_office_does_not_know_is_seen() -> None:
    assert kinds([seen("n3", 1)]) == {"two_holders"}


def test_one_epoch_recorded_for_two_is_seen() -> None:
    assert kinds(offices=[*OFFICES, office(2, "n2", "z", generation=2)]) == {"two_holders"}


def test_an_epoch_that_falls_is_seen_wherever_it_falls() -> None:
    assert kinds([*HONEST, seen("n2", 1, held=False)]) == {"epoch_fell"}
    assert kinds(offices=[*OFFICES, office(1, "n1", "x", generation=2)]) == {"epoch_fell"}
    assert kinds(markers=[*MARKERS, MarkerSeen(1.0, 1, 2, 2)]) == {"epoch_fell"}


def test_a_new_life_and_a_flush_begin_anew() -> None:
    assert kinds([*HONEST, seen("n2", 0, held=False), seen("n1", 1, held=False, life=2)]) == set()


def test_a_generation_that_falls_is_seen() -> None:
    assert kinds(offices=[*OFFICES, office(2, "n2", "y", generation=1)]) == {"generation_fell"}
    assert kinds(markers=[*MARKERS, MarkerSeen(1.0, 2, 1, 2)]) == {"generation_fell"}


def test_a_marker_whose_epoch_nobody_was_given_is_seen() -> None:
    assert kinds(markers=[*MARKERS, MarkerSeen(1.0, 3, 2, 2)]) == {"unfounded"}


def call(sha: str, epoch: int, prefix: str = PREFIX) -> bytes:
    return f'+1.5 [0 127.0.0.1:7] "EVALSHA" "{sha}" "1" "{prefix}" "{epoch}" "4" "more"'.encode()


def inside(*words: str) -> bytes:
    return b"+1.6 [0 lua] " + " ".join(f'"{word}"' for word in words).encode()


READ = inside("HMGET", f"{PREFIX}marker", "epoch", "generation")
WRITE = inside("LPUSH", f"{PREFIX}ready:default:5", "an entry")


def raised(epoch: int) -> bytes:
    return inside("HSET", f"{PREFIX}marker", "epoch", str(epoch), "holder", "n1")


def watched(*lines: bytes) -> Fence:
    fence = Fence(PREFIX, {BEAT: "office_beat", TAKE: "office_take", ADD: "rebuild_add"})
    for line in [*lines, b'+2.0 [0 127.0.0.1:7] "PING"']:
        fence.line(line)
    return fence


def test_scripts_of_the_markers_epoch_pass_and_what_older_ones_read_is_a_refusal() -> None:
    fence = watched(call(TAKE, 5), READ, raised(5), call(BEAT, 5), READ, WRITE, call(BEAT, 4), READ)
    assert (fence.violations, fence.applied, fence.refused) == ([], 2, 1)


def test_a_write_under_an_older_or_a_newer_marker_is_seen() -> None:
    for epoch in (4, 6):
        fence = watched(call(TAKE, 5), READ, raised(5), call(BEAT, epoch), READ, WRITE)
        assert [violation.kind for violation in fence.violations] == ["stale_write"], epoch


def test_an_office_taken_below_the_marker_is_seen() -> None:
    fence = watched(call(TAKE, 5), READ, raised(5), call(TAKE, 4), READ, raised(4))
    assert [violation.kind for violation in fence.violations] == ["stale_write"]


def test_after_a_flush_only_a_rebuild_may_write() -> None:
    begun = (call(TAKE, 5), READ, raised(5))
    for loss in ('"FLUSHALL"', f'"UNLINK" "{PREFIX}marker"'):
        fence = watched(*begun, f"+1.7 [0 127.0.0.1:7] {loss}".encode(), call(BEAT, 5), READ, WRITE)
        assert [violation.kind for violation in fence.violations] == ["stale_write"], loss


def test_another_clusters_scripts_are_nobodys_business() -> None:
    other = inside("LPUSH", "hegemon:{d}:ready:default:5", "an entry")
    fence = watched(call(TAKE, 5), READ, raised(5), call(BEAT, 1, "hegemon:{d}:"), other)
    assert (fence.violations, fence.applied) == ([], 1)


def test_what_was_missed_while_redis_was_away_condemns_nobody() -> None:
    fence = watched(call(TAKE, 5), READ, raised(5))
    fence.lost_sight()
    for line in (call(BEAT, 7), READ, WRITE, call(BEAT, 5), READ, WRITE):
        fence.line(line)
    assert len(fence.violations) == 1
