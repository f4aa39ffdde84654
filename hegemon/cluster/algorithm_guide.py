"""What each election algorithm is good for, and its settings for so many nodes: texts and numbers as data, for people.

Nothing decides by this page. The API shows it, and the tests hold its settings against the settings there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from hegemon.cluster.durations import format_duration

NODES_MAX: Final = 1000
_MS, _SECOND = timedelta(milliseconds=1), timedelta(seconds=1)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """An algorithm as `/api/v1/election/algorithms/{name}` shows it, for a cluster of `nodes`.

    `quorum`: how many nodes must reach each other for a leader to be found. `failures_tolerated`: how many may be
    down at once. `settings`: by environment name, the same on all nodes. `wan`: those for nodes that are far apart,
    or lose many datagrams: at most one change of the leader in ten minutes with 20% loss, or 300 ms of delay.
    """

    name: str
    title: str
    description: str
    when_to_use: list[str]
    when_not: list[str]
    nodes: int
    quorum: int
    failures_tolerated: int
    suits: bool
    settings: dict[str, str]
    wan: dict[str, str]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The texts of one algorithm. `majority`: only more than half of the nodes can find a leader. `nodes` is the range
    of cluster sizes that it suits; `many` the size from which the leader's heartbeats are spaced out."""

    title: str
    description: str
    when_to_use: tuple[str, ...]
    when_not: tuple[str, ...]
    majority: bool
    nodes: range
    many: int


GUIDE: Final[dict[str, Algorithm]] = {
    "bully": Algorithm(
        title="Bully (Garcia-Molina, 1982)",
        description="The highest rank among the living leads: ELECTION_RANK, then NODE_ID in natural order. Whoever "
        "misses the leader asks all nodes of higher rank; if none answers, it leads and says so. A returning node of "
        "higher rank takes over by an orderly hand-over, unless ELECTION_BULLY_PREEMPT is off.",
        when_to_use=(
            "two nodes: it is the one algorithm that goes on when one of two is gone",
            "you want to say which machine leads, by ELECTION_RANK",
            "a few nodes on one network, with nothing to keep on disk",
        ),
        when_not=(
            "nodes come back often, and each hand-over would hurt: turn ELECTION_BULLY_PREEMPT off, or take raft",
            "more than about ten nodes: everyone talks to everyone",
        ),
        majority=False,
        nodes=range(1, 11),
        many=11,
    ),
    "raft": Algorithm(
        title="Raft (Ongaro and Ousterhout, 2014), on PySyncObj",
        description="A majority of a fixed set of voters elects the leader, term by term; votes are kept on disk. A "
        "leader that is cut off from the majority stands down by itself. A leadership counts once a command of its "
        "own has committed.",
        when_to_use=(
            "three, five or seven nodes, and partitions must not leave two that believe to lead",
            "the nodes are known in advance and keep a disk (DATA_DIR)",
        ),
        when_not=(
            "two nodes: without both there is no majority, so two are worse than one",
            "nodes come and go: voters are listed in CLUSTER_PEERS, the same on all; further nodes only look on",
        ),
        majority=True,
        nodes=range(3, 8),
        many=11,
    ),
    "gossip": Algorithm(
        title="Gossip: SWIM (Das et al., 2002) with Lifeguard's refinements",
        description="Every node probes one other at a time, and what is learned spreads with the probes; a silent node "
        "is suspected first and may refute it. The best rank among the living leads, and a healthy leader stays. "
        "The leader also sends direct heartbeats, so that its loss is seen within a moment.",
        when_to_use=(
            "many nodes, up to a hundred and more: the traffic of a node does not grow with the cluster",
            "nodes that come and go; any one peer is enough to join by",
            "lossy or uneven networks, where a slow node must not be taken for a dead one",
        ),
        when_not=("two sides of a partition must not both believe to lead, though only one can act: take raft",),
        majority=False,
        nodes=range(2, NODES_MAX + 1),
        many=21,
    ),
}
_PARTITION: Final = (
    "Whatever the algorithm believes, only the holder of the newest epoch schedules: the stores refuse all others."
)


def advice(name: str, nodes: int) -> Advice:
    """The advice on algorithm `name` (KeyError if unknown) for 1 to `NODES_MAX` nodes (ValueError)."""
    if not 1 <= nodes <= NODES_MAX:
        raise ValueError(f"nodes must be from 1 to {NODES_MAX}, not {nodes}")
    algorithm = GUIDE[name]
    quorum = nodes // 2 + 1 if algorithm.majority else 1
    return Advice(
        name=name,
        title=algorithm.title,
        description=algorithm.description,
        when_to_use=list(algorithm.when_to_use),
        when_not=list(algorithm.when_not),
        nodes=nodes,
        quorum=quorum,
        failures_tolerated=nodes - quorum,
        suits=nodes in algorithm.nodes,
        settings=_settings(name, 250 * _MS if nodes >= algorithm.many else 100 * _MS, _SECOND, 3 * _SECOND),
        # Raft's leader needs a majority's answers within the takeover, and no store vouches for it meanwhile.
        wan=_settings(name, _SECOND, 3 * _SECOND, 10 * _SECOND)
        | {"OFFICE_TAKEOVER": format_duration(6 * _SECOND if algorithm.majority else 2 * _SECOND)},
        notes=[*_notes(name, nodes, algorithm), _PARTITION],
    )


def default_algorithm(nodes: int) -> str:
    """What `hegemon up` takes for so many nodes: solo alone, bully for two, raft from three."""
    return "solo" if nodes == 1 else "bully" if nodes == 2 else "raft"


def _settings(name: str, heartbeat: timedelta, interval: timedelta, timeout: timedelta) -> dict[str, str]:
    settings = {
        "ELECTION_ALGORITHM": name,
        "ELECTION_HEARTBEAT": format_duration(heartbeat),
        "ELECTION_INTERVAL": format_duration(interval),
        "ELECTION_TIMEOUT": format_duration(timeout),
    }
    return settings | ({"ELECTION_BULLY_PREEMPT": "true"} if name == "bully" else {})


def _notes(name: str, nodes: int, algorithm: Algorithm) -> list[str]:
    notes = []
    if nodes not in algorithm.nodes:
        low, high = algorithm.nodes[0], algorithm.nodes[-1]
        notes.append(f"{name} suits {low} to {high} nodes; for {nodes}, {_better(nodes)}.")
    if name == "raft":
        if nodes % 2 == 0:
            survives = nodes - (nodes // 2 + 1)
            notes.append(f"{nodes} voters gain nothing over {nodes - 1}: either survives the loss of {survives}.")
        notes.append("List every voter with its ID in CLUSTER_PEERS, and give each node a DATA_DIR that lasts.")
    if nodes >= algorithm.many:
        notes.append("With so many nodes the leader's heartbeats are spaced out, so a failover takes longer.")
    return notes


def _better(nodes: int) -> str:
    if nodes == 1:
        return "one node leads itself: solo needs no peers"
    if nodes == 2:
        return "bully is the better choice"
    return "gossip is the better choice" if nodes > 7 else "raft is the better choice"
