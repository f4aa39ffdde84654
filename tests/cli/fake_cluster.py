"""What the nodes of a made-up cluster say of it; tests change it as they like."""

import time
from typing import Any


class FakeCluster:
    """`urls` by node; `leader` None for nobody; `health` what the election says of members, alive if nothing."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.leader: str | None = "n1"
        self.epoch = 17
        self.health: dict[str, str] = {}
        self.paused: float | None = None

    def views(self, name: str) -> dict[str, dict[str, Any]]:
        """The answers of node `name` by path: cluster, leader, election, nodes."""
        leads = self.leader == name
        url = self.urls.get(self.leader or "")
        cluster = {"cluster_id": "c-42", "version": "0.1.0", "node_id": name, "algorithm": "gossip"}
        office = {"leader_id": self.leader, "epoch": self.epoch}
        return {
            "cluster": {**cluster, **office, "strategy": "least_loaded", "generation": 3},
            "leader": {**office, "generation": 3, "url": url},
            "election": {
                "node_id": name,
                "current_algorithm": "gossip",
                "role": "leader" if leads else "follower",
                "is_leader": leads,
                "active": leads,
                **office,
                "term": 5,
                "members": [self._member(each) for each in self.urls],
                "last_changes": [],
            },
            "nodes": {"nodes": [self._node(each) for each in self.urls]},
        }

    def _node(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "incarnation": f"{name}~1",
            "url": self.urls[name],
            "version": "0.1.0",
            "alive": self.health.get(name, "alive") == "alive",
            "is_leader": name == self.leader,
            "slots": 10,
            "held": 2,
            "strategy": "least_loaded",
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%S.123Z", time.gmtime()),
        }

    def _member(self, name: str) -> dict[str, Any]:
        return {"id": name, "health": self.health.get(name, "alive"), "url": self.urls[name], "fit": True}
