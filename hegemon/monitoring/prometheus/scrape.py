"""Prometheus' own configuration for a cluster: whom it scrapes, and where the rules are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

EXAMPLE: Final = ("node-1:9090", "node-2:9090", "node-3:9090")


def prometheus_file(targets: Sequence[str], cluster: str, alertmanager: str = "alertmanager:9093") -> str:
    """The YAML text. `targets`: HOST:PORT of each node's METRICS_PORT; `cluster`: its CLUSTER_ID."""
    return f"""\
# Prometheus' configuration for a cluster of Hegemon. Targets are the nodes, with their METRICS_PORT.
global:
  scrape_interval: 15s
  evaluation_interval: 15s

rule_files:
  - rules.yml
  - alerts.yml

alerting:
  alertmanagers:
    - static_configs:
        - targets: {json.dumps([alertmanager])}

scrape_configs:
  - job_name: hegemon
    # Every series says itself of which cluster and node it is. `up` does not: it has what is written here.
    honor_labels: true
    static_configs:
      - targets: {json.dumps(list(targets))}
        labels:
          cluster: {json.dumps(cluster)}
"""
