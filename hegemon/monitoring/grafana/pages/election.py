"""Election: who leads, who believes so, since when, and whether the nodes hear each other."""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.grafana.dashboard import CLUSTER, NODE, RATE, Dashboard, Row
from hegemon.monitoring.grafana.pages.queries import nothing, rate
from hegemon.monitoring.grafana.panel import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Panel, Query

_NOW: Final = (
    Panel(
        title="Leader",
        description="The node that holds the office and reaches both stores. Red: nobody dispatches jobs.",
        queries=(
            Query(f"hegemon_leader_active{{{CLUSTER}}} == 1", "{{node}}"),
            Query(f"sum(hegemon_leader_active{{{CLUSTER}}}) == 0", "NOBODY"),
        ),
        kind="stat",
        steps=((None, RED), (1, GREEN)),
        of_names=True,
        empty="NO DATA",
        width=5,
        height=4,
    ),
    Panel(
        title="Algorithm",
        description="How this cluster elects.",
        queries=(Query(f"max by (algorithm) (hegemon_build_info{{{CLUSTER}}})", "{{algorithm}}"),),
        kind="stat",
        steps=((None, BLUE),),
        of_names=True,
        width=4,
        height=4,
    ),
    Panel(
        title="Epoch",
        description="The number of the office: one more each time that somebody takes it. It is the fence.",
        queries=(Query(f"max(hegemon_office_epoch{{{CLUSTER}}})"),),
        kind="stat",
        steps=((None, BLUE),),
        width=3,
        height=4,
    ),
    Panel(
        title="Term",
        description="The newest term of the election that any node has.",
        queries=(Query(f"max(hegemon_election_term{{{CLUSTER}}})"),),
        kind="stat",
        steps=((None, BLUE),),
        width=3,
        height=4,
    ),
    Panel(
        title="Believe that they lead",
        description="One is right. Two for a moment belong to an election; for longer, nodes cannot hear each other.",
        queries=(Query(f"sum(hegemon_election_believes{{{CLUSTER}}})"),),
        kind="stat",
        steps=((None, RED), (1, GREEN), (2, RED)),
        width=4,
        height=4,
    ),
    Panel(
        title="New leaders",
        description="How often somebody took office in the time that is shown.",
        queries=(Query(f"max(max_over_time(hegemon_office_epoch{{{CLUSTER}}}[$__range])"
                       f") - min(min_over_time(hegemon_office_epoch{{{CLUSTER}}}[$__range]))"),),
        kind="stat",
        decimals=0,
        steps=((None, GREEN), (3, YELLOW), (10, RED)),
        width=5,
        height=4,
    ),
)  # fmt: skip

_BELIEFS: Final = (
    Panel(
        title="Active leader",
        description="Green while a node holds the office and reaches both stores. A gap in all: nobody dispatched.",
        queries=(Query(f"max by (node) (hegemon_leader_active{{{NODE}}})", "{{node}}"),),
        kind="state-timeline",
        steps=((None, GREY), (1, GREEN)),
        texts=((0, "follows", "transparent"), (1, "leads", GREEN)),
        width=12,
        height=7,
    ),
    Panel(
        title="Believes that it leads",
        description="What each node thinks of itself. Two at once is what the fence is for.",
        queries=(Query(f"max by (node) (hegemon_election_believes{{{NODE}}})", "{{node}}"),),
        kind="state-timeline",
        steps=((None, GREY), (1, ORANGE)),
        texts=((0, "follows", "transparent"), (1, "believes", ORANGE)),
        width=12,
        height=7,
    ),
    Panel(
        title="Terms",
        description="The term that each node is in. Lines that stay apart: a node does not hear the others.",
        queries=(Query(f"max by (node) (hegemon_election_term{{{NODE}}})", "{{node}}"),),
        least=None,
        decimals=0,
        width=8,
    ),
    Panel(
        title="Epochs",
        description="The epoch that each node knows. Only Redis tells it: who lags reaches no store.",
        queries=(Query(f"max by (node) (hegemon_office_epoch{{{NODE}}})", "{{node}}"),),
        least=None,
        decimals=0,
        width=8,
    ),
    Panel(
        title="Changes of mind",
        description="How often each node came to believe in another leader or term, in five minutes.",
        queries=(Query(f"sum by (node) (increase(hegemon_election_leader_changes_total{{{NODE}}}[5m]))", "{{node}}"),),
        width=8,
    ),
)

_LINKS: Final = (
    Panel(
        title="Members",
        description="How many members each node calls alive; and how many any of them calls suspect or dead.",
        queries=(
            Query(f'sum by (node) (hegemon_cluster_members{{{NODE},state="alive"}})', "alive, says {{node}}"),
            Query(f'max by (state) (hegemon_cluster_members{{{NODE},state!="alive"}})', "{{state}}, says somebody"),
        ),
        decimals=0,
        width=8,
    ),
    Panel(
        title="Frames between nodes",
        description="What the nodes send each other for elections and membership, a second.",
        queries=(Query(rate("hegemon_transport_frames_total", NODE, "node", "direction"), "{{node}} {{direction}}"),),
        unit="pps",
        width=8,
    ),
    Panel(
        title="Frames dropped",
        description="By why. `forged`: another CLUSTER_SECRET, or somebody who has none.",
        queries=(
            Query(
                f"{rate('hegemon_transport_frames_dropped_total', NODE, 'reason')} > 0 or {nothing('reason')}",
                "{{reason}}",
            ),
        ),
        bars=True,
        stacked=True,
        unit="pps",
        width=8,
    ),
    Panel(
        title="Refused by the fence",
        description="Calls of a leader that Redis refused. newer: a stale leader was kept from writing; absent: Redis "
        "lost its data; older: it came back with old data.",
        queries=(Query(f"sum by (reason) (increase(hegemon_fence_refusals_total{{{NODE}}}[{RATE}]))", "{{reason}}"),),
        bars=True,
        stacked=True,
        width=12,
    ),
    Panel(
        title="Doubt in itself (gossip)",
        description="Lifeguard's local health: 0 is well; a node that hears little doubts itself before others. Only "
        "gossip has it; other elections show 0.",
        queries=(
            Query(
                f"max by (node) (hegemon_swim_health_score{{{NODE}}})"
                f" or 0 * max by (node) (hegemon_build_info{{{NODE}}})",
                "{{node}}",
            ),
        ),
        width=12,
    ),
)

ELECTION_PAGE: Final = Dashboard(
    name="election",
    title="Election",
    description="Who leads, who believes so, and whether the nodes hear each other.",
    rows=(Row("", _NOW), Row("Beliefs", _BELIEFS), Row("Between nodes", _LINKS)),
    variables=("node",),
)
