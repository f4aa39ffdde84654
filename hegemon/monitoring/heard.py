"""What metrics learn from events: how many there were, how often the leader changed, which store is away."""

from __future__ import annotations

from collections import Counter
from typing import Final

from hegemon.events.bus import Recorded
from hegemon.events.cluster import LeaderChanged, StoreBack, StoreLost
from hegemon.events.jobs import JobCancelled
from hegemon.measures import ENDED, Meters

STORES: Final = {"MongoDB": "mongodb", "Redis": "redis"}


class Heard:
    """A subscriber of one node's events. A node only begins once both stores have answered: until it hears otherwise,
    they are up."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self.kinds: Counter[str] = Counter()
        self.leader_changes = 0
        self.stores_up = dict.fromkeys(STORES.values(), True)

    def add(self, recorded: Recorded) -> None:
        """One event."""
        event = recorded.event
        self.kinds[event.kind] += 1
        match event:
            case LeaderChanged(leader=leader):
                # Without a leader is not another leader: only who comes next counts.
                self.leader_changes += leader is not None
            case StoreLost(store=store):
                self.stores_up[STORES[store]] = False
            case StoreBack(store=store):
                self.stores_up[STORES[store]] = True
            case JobCancelled(queue=queue):
                self._meters.at(ENDED, queue, "cancelled").add()
