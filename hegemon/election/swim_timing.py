"""The periods and factors of SWIM and Lifeguard in one frozen value, and how they grow with the group.

A plain LAN and a WAN setting stand beside each other, since a delay that is long for one is ordinary for the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SwimTiming:
    """All times in seconds.

    ``probe_interval_s`` is SWIM's protocol period T', within which a probe must come to an end, direct for the first
    ``probe_timeout_s``, then through ``helpers`` others (the paper's k) and a stream. News goes to ``fanout`` members
    every ``gossip_s`` while there is any, each piece ``retransmit`` x log10(n + 1) times (lambda). A suspect has
    ``suspicion`` x log10(n) periods (Lifeguard's alpha) once ``confirmations`` (K) others suspect it too, and
    ``suspicion_max`` (beta) times that while nobody does. ``health_max`` (S) bounds the local health multiplier.
    ``sync_s`` is the period of the full exchange. A dead member is remembered, and greeted now and then, for
    ``forget_s``; one that left for ``forget_left_s``, so that old news of it does not bring it back.
    """

    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    helpers: int = 3
    gossip_s: float = 0.2
    fanout: int = 3
    retransmit: int = 4
    suspicion: float = 4.0
    suspicion_max: float = 6.0
    confirmations: int = 3
    health_max: int = 8
    sync_s: float = 1.0
    forget_s: float = 3600.0
    forget_left_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.probe_timeout_s < self.probe_interval_s:
            raise ValueError("the probe timeout must be more than 0 and shorter than the probe interval")

    def retransmits(self, size: int) -> int:
        """How often one piece of news is sent by each member of a group of ``size`` (SWIM, 4.1: lambda log n)."""
        return self.retransmit * math.ceil(math.log10(size + 1))

    def suspicion_min_s(self, size: int) -> float:
        """The shortest time that a suspect has to refute (Lifeguard, LHA-Suspicion: alpha log10(n) periods)."""
        return self.suspicion * max(1.0, math.log10(max(1, size))) * self.probe_interval_s

    def sync_every_s(self, size: int) -> float:
        """The period of the full exchange; each doubling beyond 32 members adds one ``sync_s``."""
        return self.sync_s * (1 if size <= 32 else 1 + math.ceil(math.log2(size / 32)))

    @property
    def nack_s(self) -> float:
        """When a helper that has no answer yet says so: at 80% of the probe timeout (Lifeguard, LHA-Probe)."""
        return 0.8 * self.probe_timeout_s

    @property
    def late_s(self) -> float:
        """A deadline of our own missed by more than this is a loss of local health: we were stopped, or starved."""
        return self.probe_timeout_s / 2


LAN: Final = SwimTiming()
WAN: Final = SwimTiming(probe_interval_s=5.0, probe_timeout_s=3.0, gossip_s=0.5, fanout=4, suspicion=6.0, sync_s=5.0)
