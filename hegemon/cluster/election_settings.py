"""The settings of the election: which algorithm, how the nodes find and trust each other, how fast they notice."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, SecretStr

from hegemon.cluster.setting_forms import (
    Address,
    Choice,
    Duration,
    File,
    Flag,
    Host,
    Peer,
    Peers,
    Secret,
    Whole,
    is_loopback,
)
from hegemon.cluster.setting_group import Conflict, Group

_MS, _SECOND, _MINUTE, _HOUR = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound

ElectionAlgorithm = Literal["solo", "bully", "raft", "gossip"]


class ElectionSettings(Group):
    """How the nodes find each other and agree on a leader."""

    election_algorithm: Annotated[ElectionAlgorithm, Choice(get_args(ElectionAlgorithm))] = Field(
        default="solo",
        description="How the leader is found, the same on all nodes. solo is one node that leads itself; bully: the "
        "highest rank among the living, serves two nodes and more; raft: a majority of a fixed set of voters; gossip: "
        "SWIM, scales to many nodes. GET /api/v1/election/algorithms/NAME says when to use which.",
    )
    cluster_host: Annotated[str, Host()] = Field(
        default="127.0.0.1",
        description="The address that the traffic between nodes listens on. Beyond this machine it needs "
        "CLUSTER_SECRET. Without effect while ELECTION_ALGORITHM is solo, as all settings of this group.",
    )
    cluster_port: Annotated[int, Whole(1, 65535)] = Field(
        default=7946, description="The port of the traffic between nodes, UDP and TCP alike."
    )
    cluster_advertise: Annotated[str | None, Address()] = Field(
        default=None,
        description="Where other nodes reach CLUSTER_PORT, as host:port. Unset: CLUSTER_HOST, or this host's name if "
        "that is a wildcard, with CLUSTER_PORT.",
    )
    cluster_peers: Annotated[tuple[Peer, ...], Peers()] = Field(
        default=(),
        description="Nodes to join by, as HOST:PORT or ID@HOST:PORT separated by commas; any one that is up will do, "
        "and nodes that share a Redis find each other without. For raft it is the list of all voters, each with its "
        "ID, the same on all nodes; a node that is not in it looks on. Its own entry is ignored.",
    )
    cluster_secret: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="The secret of the cluster, the same on all nodes: what nodes say to each other is encrypted and "
        "authenticated with keys made from it. Make one with `openssl rand -hex 32`. Never printed.",
    )
    cluster_secret_other: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="A second secret that is accepted, to change CLUSTER_SECRET without a stop: first every node "
        "accepts the new one here, then every node sends with it (swap the two), then the old one goes.",
    )
    data_dir: Annotated[Path | None, File()] = Field(
        default=None,
        description="A directory of this node's own that outlives restarts. raft keeps its term and vote there and "
        "needs it; the other algorithms keep nothing on disk.",
    )
    election_heartbeat: Annotated[timedelta, Duration(10 * _MS, _MINUTE)] = Field(
        default=100 * _MS,
        description="How often the leader is heard of. A silence of three and a half of them is a loss, so shorter "
        "fails over sooner, and long networks need longer: about 1s between continents. Must not be longer than "
        "ELECTION_INTERVAL. The same on all nodes.",
    )
    election_timeout: Annotated[timedelta, Duration(10 * _MS, _HOUR)] = Field(
        default=3 * _SECOND,
        description="How long to wait for an election to end before a new one begins. Shorter recovers faster; too "
        "short for the network, and elections overtake each other. Must be longer than ELECTION_INTERVAL.",
    )
    election_interval: Annotated[timedelta, Duration(10 * _MS, _HOUR)] = Field(
        default=_SECOND,
        description="The period of the full exchange between nodes. Shorter notices changes sooner and costs more "
        "traffic. Must be shorter than ELECTION_TIMEOUT.",
    )
    election_rank: Annotated[int | None, Whole(-1_000_000, 1_000_000)] = Field(
        default=None,
        description="This node's rank where the algorithm has a choice: the highest leads. Unset counts as 0; equal "
        "ranks are ordered by NODE_ID (n10 above n9).",
    )
    election_bully_preempt: Annotated[bool, Flag()] = Field(
        default=True,
        description="bully only: a returning node of higher rank takes over, by an orderly hand-over. Off: a healthy "
        "leader stays, whoever returns.",
    )
    office_beat: Annotated[timedelta, Duration(10 * _MS, 10 * _SECOND)] = Field(
        default=100 * _MS,
        description="How often the leader moves its counter in Redis. Shorter allows a shorter OFFICE_TAKEOVER, for "
        "one small write each time.",
    )
    office_takeover: Annotated[timedelta, Duration(30 * _MS, _MINUTE)] = Field(
        default=300 * _MS,
        description="A leader whose counter stands still this long may be succeeded. Shorter fails over sooner, but a "
        "pause of the leader then costs it the office. raft misses its leader no sooner either. At least three times "
        "OFFICE_BEAT, the same on all nodes.",
    )

    @property
    def advertised(self) -> str:
        """Where other nodes reach this one: host:port."""
        if self.cluster_advertise is not None:
            return self.cluster_advertise
        host = socket.gethostname() if self.cluster_host in _WILDCARDS else self.cluster_host
        return f"[{host}]:{self.cluster_port}" if ":" in host else f"{host}:{self.cluster_port}"

    def conflicts(self) -> Iterator[Conflict]:
        if self.election_interval >= self.election_timeout:
            yield Conflict(
                ("ELECTION_INTERVAL", "ELECTION_TIMEOUT"), "ELECTION_INTERVAL must be shorter than ELECTION_TIMEOUT"
            )
        if self.election_heartbeat > self.election_interval:
            yield Conflict(
                ("ELECTION_HEARTBEAT", "ELECTION_INTERVAL"),
                "ELECTION_HEARTBEAT must not be longer than ELECTION_INTERVAL",
            )
        if self.office_takeover < 3 * self.office_beat:
            yield Conflict(
                ("OFFICE_TAKEOVER", "OFFICE_BEAT"), "OFFICE_TAKEOVER must be at least three times OFFICE_BEAT"
            )
        if self.cluster_secret_other is not None and self.cluster_secret is None:
            yield Conflict(("CLUSTER_SECRET_OTHER",), "CLUSTER_SECRET_OTHER needs CLUSTER_SECRET")
        if self.election_algorithm == "solo":
            if self.cluster_peers:
                yield Conflict(
                    ("CLUSTER_PEERS", "ELECTION_ALGORITHM"),
                    "a cluster of several nodes needs ELECTION_ALGORITHM=bully, raft or gossip",
                )
            return
        if self.cluster_secret is None and not is_loopback(self.cluster_host):
            yield Conflict(
                ("CLUSTER_HOST", "CLUSTER_SECRET"),
                "beyond this machine the nodes' traffic needs CLUSTER_SECRET, the same on all nodes",
            )
        if self.election_algorithm == "raft":
            yield from self._raft_conflicts()

    def _raft_conflicts(self) -> Iterator[Conflict]:
        if self.cluster_secret is None:
            yield Conflict(("ELECTION_ALGORITHM", "CLUSTER_SECRET"), "raft needs CLUSTER_SECRET, the same on all nodes")
        if self.data_dir is None:
            yield Conflict(("ELECTION_ALGORITHM", "DATA_DIR"), "raft needs DATA_DIR, where it keeps its term and vote")
        if not self.cluster_peers or any(peer.id is None for peer in self.cluster_peers):
            yield Conflict(
                ("ELECTION_ALGORITHM", "CLUSTER_PEERS"),
                "raft needs CLUSTER_PEERS to name all voters with their IDs, such as n1@10.0.0.1:7946,n2@10.0.0.2:7946",
            )
