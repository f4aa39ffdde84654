"""Gossip clusters in virtual time, that have found a leader: the highest."""

from __future__ import annotations

import random

from hegemon.election.contract import Member, Timing
from hegemon.election.gossip import Gossip
from tests.election.virtual_network import VirtualNetwork


def cluster(
    size: int, *, seed: int = 1, kind: type[Gossip] = Gossip, loss: float = 0.0, witness: bool = True
) -> VirtualNetwork:
    """One of n1, n2... that has a leader and has been calm for a while. ``witness``: everybody looks at a store."""
    rngs = random.Random(seed)
    net = VirtualNetwork(
        lambda me: kind(me, timing=Timing(), rng=random.Random(rngs.random()), expected=size),
        [Member(f"n{number}") for number in range(1, size + 1)],
        seed=seed,
        witness=witness,
    )
    net.start()
    net.run_until(net.agreed, 5.0)
    net.link.loss = loss
    net.run(3.0 + rngs.random())
    return net


def leader_of(net: VirtualNetwork) -> str:
    """The one leader."""
    [leader] = net.leaders
    return leader
