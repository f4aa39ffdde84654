"""Safeguards to switch off, one at a time: a simulation that then finds nothing would be no proof of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hegemon.cluster.raft_election import RaftElection
from hegemon.cluster.raft_library import CANDIDATE, LEADER, Library
from hegemon.cluster.raft_state import Durable
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.gossip_campaign import Campaign
from hegemon.election.gossip_reign import better_than
from hegemon.election.swim_membership import Membership
from hegemon.election.swim_probe import Prober
from tests.simulation.redis_data import RedisData, Reply
from tests.simulation.voters import Disk
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


def no_vote_persistence(world: World) -> None:
    """A restarted voter of Raft knows neither its term nor its vote, and does not know that it forgot them."""

    def forgetful(disk: Disk) -> Durable:
        session = 0 if disk.durable is None else disk.durable.session
        return Durable(session=session, blank=False)

    world.patches.append((Disk, "load", forgetful))


def no_recorded_term(world: World) -> None:
    """A voter without a past is told that the office was never taken."""

    def never(election: RaftElection, _: int) -> None:
        if election._driver is not None:
            election._driver.set_recorded(0)

    world.patches.append((RaftElection, "recorded", never))


def no_stickiness(world: World) -> None:
    """A healthy leader is deposed by whoever would rather lead: in Gossip its better, in Raft one that comes back and
    does not ask first (no pre-vote)."""
    init, misses = RaftVoter.__init__, Campaign._misses

    def unasked(voter: RaftVoter, *args: Any, **options: Any) -> None:
        init(voter, *args, **options | {"prevote": False})

    def eager(campaign: Campaign, now: float) -> bool:
        own, leader = campaign._own(), campaign._missed()
        known = None if leader is None else campaign._swim.member(leader)
        return misses(campaign, now) or (known is not None and better_than(own, [known], without=own.id) == 0)

    world.patches += [(RaftVoter, "__init__", unasked), (Campaign, "_misses", eager)]


def no_refutation(world: World) -> None:
    """A member that hears itself suspected keeps its incarnation, and says nothing against it."""
    world.patches.append((Membership, "_refute", lambda *_: None))


def no_indirect_probes(world: World) -> None:
    """Who gets no answer asks nobody else to probe."""
    world.patches.append((Prober, "_ask_helpers", lambda *_: None))


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
    "vote-persistence": no_vote_persistence,
    "recorded-term": no_recorded_term,
    "quorum": no_quorum,
    "stickiness": no_stickiness,
    "refutation": no_refutation,
    "indirect-probes": no_indirect_probes,
}
