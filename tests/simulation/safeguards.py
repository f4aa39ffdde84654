"""Safeguards to switch off, one at a time: a simulation that then finds nothing would be no proof of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hegemon.cluster.raft_library import CANDIDATE, LEADER, Library
from hegemon.cluster.raft_voter import RaftVoter
from tests.simulation.redis_data import RedisData, Reply
from tests.simulation.world import World

_EXACT: Final = b"marker[1] ~= ARGV[1] or "
_NEWER: Final = b"if tonumber(marker[1]) > tonumber(ARGV[1]) then return {'newer'} end"


def no_fence(world: World) -> None:
    """Leaders' scripts no longer look at the epoch."""
    server = world.redis
    run = server._scripts.run

    def unfenced(data: RedisData, script: bytes, keys: list[bytes], args: list[bytes]) -> Reply:
        return run(data, script.replace(_EXACT, b"").replace(_NEWER, b""), keys, args)

    class Unfenced:
        """The server's scripts, with their fence taken out."""

        run = staticmethod(unfenced)

    server._scripts = Unfenced()  # type: ignore[assignment]  # a server asks nothing else of it


def no_majority(world: World) -> None:
    """MongoDB answers a write before the majority has it."""
    world.mongo.impatient = True


def no_run_id(world: World) -> None:
    """A connection does not ask whether the server is the one that the index was built on."""
    world.confirm = False


def no_lease(world: World) -> None:
    """Workers start jobs whatever their lease says."""
    world.leases = False


def no_votes(world: World) -> None:
    """Raft's voters keep their terms on disk, and forget for whom they voted."""
    world.votes = False


def no_quorum(world: World) -> None:
    """Raft's candidates need nobody's vote but their own, and leaders nobody's answer."""
    init = RaftVoter.__init__

    def alone(voter: RaftVoter, *args: Any, **options: Any) -> None:
        init(voter, *args, **options)
        voter._majority = 1

    def tick(library: Library, wait_s: float) -> None:
        do_tick(library, wait_s)
        if library.state == CANDIDATE:
            for other in sorted(library.otherNodes, key=lambda node: str(node.id)):
                library.hear(other.id, {"type": "response_vote", "term": library.term})

    do_tick = Library.doTick
    world.patches += [
        (RaftVoter, "__init__", alone),
        (Library, "doTick", tick),
        (Library, "confirmed", property(lambda library: library.state == LEADER)),
    ]


OFF: Final[dict[str, Callable[[World], None]]] = {
    "fence": no_fence,
    "majority": no_majority,
    "run_id": no_run_id,
    "lease": no_lease,
    "votes": no_votes,
    "quorum": no_quorum,
}
