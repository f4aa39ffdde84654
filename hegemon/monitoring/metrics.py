"""A node's metrics as Prometheus scrapes them. Everything is counted elsewhere, and read here when somebody asks: a
scrape asks no store, and holds up nobody for longer than it takes to write some lines.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from prometheus_client.exposition import choose_encoder

from hegemon.cluster.figures import FigureKeeper
from hegemon.cluster.leadership import Leadership
from hegemon.cluster.observer import Pulse
from hegemon.cluster.supervisor import Supervisor
from hegemon.election.contract import Health, Role
from hegemon.events.table import KINDS
from hegemon.measures import Names
from hegemon.monitoring.exposition import Page, Series
from hegemon.monitoring.heard import Heard
from hegemon.queue.depths import QueueDepth
from hegemon.version import VERSION

_COMING_IN = ("datagrams_in", "streams_in")
_GOING_OUT = ("datagrams_out", "streams_out")
# Of the traffic's counters, what is no dropped frame.
_CARRIED = frozenset({*_COMING_IN, *_GOING_OUT, "asked"})
_PLACES = ("hegemon_disk_free_bytes", "hegemon_disk_size_bytes", "hegemon_tls_certificate_expiry_timestamp_seconds")
# A scraper's own patience is ten seconds.
PLACES_S = 1.0
_MEMBER_STATES = (Health.ALIVE, Health.SUSPECT, Health.DEAD)


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's metrics are read from. `streams`: clients that follow the activity, and how many were dropped.
    `data`: where stores of this machine keep their data. `certificate_ends_s`: seconds since 1970."""

    cluster: str
    node: str
    algorithm: str
    supervisor: Supervisor
    leadership: Leadership
    pulse: Pulse
    figures: FigureKeeper
    heard: Heard
    certificate_ends_s: Callable[[], float | None]
    data: Path | None = None
    streams: Callable[[], tuple[int, int]] = lambda: (0, 0)


class NodeMetrics:
    """One node's metrics; `render` gives what `/metrics` answers with."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._queues = Names()
        self._epoch = 0
        self._started_s = time.monotonic()
        self._asking: asyncio.Future[dict[str, list[Series]]] | None = None
        self._places_told: dict[str, list[Series]] = {name: [] for name in _PLACES}

    async def render(self, accept: str) -> tuple[bytes, bytes]:
        """The exposition and its content type, in the format that this Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        read = {**self._read(), **await self._places()}
        page = Page([self._from.cluster, self._from.node], read, self._from.supervisor.series())
        # A hundred queues make ten thousand lines: the loop, which elections hang on, does not wait for them.
        return await asyncio.to_thread(encode, page), content_type.encode()

    # -- what is read when it is scraped -------------------------------------------------------------------------------

    def _read(self) -> dict[str, list[Series]]:
        single: dict[str, float] = {**self._of_node(), **self._of_workers(), **self._of_election()}
        series: dict[str, list[Series]] = {name: [((), float(value))] for name, value in single.items()}
        heard = self._from.heard
        return {
            **series,
            **self._of_depths(),
            **self._of_traffic(),
            "hegemon_build_info": [((VERSION, self._from.algorithm), 1.0)],
            "hegemon_store_up": [((store,), float(up)) for store, up in heard.stores_up.items()],
            "hegemon_events_total": [((kind,), float(heard.kinds[kind])) for kind in KINDS],
            "hegemon_cluster_members": [((str(state),), float(n)) for state, n in self._members().items()],
        }

    def _of_node(self) -> dict[str, float]:
        pulse = self._from.pulse
        streams, dropped = self._from.streams()
        return {
            "hegemon_node_uptime_seconds": time.monotonic() - self._started_s,
            "hegemon_index_jobs": pulse.depth,
            "hegemon_index_generation": pulse.generation,
            "hegemon_activity_streams": streams,
            "hegemon_activity_streams_dropped_total": dropped,
        }

    def _of_workers(self) -> dict[str, float]:
        supervisor = self._from.supervisor
        totals = supervisor.counters()
        working = [worker for worker in supervisor.workers.values() if worker.open.is_set() and not worker.solo]
        return {
            "hegemon_jobs_taken_total": totals["taken"],
            "hegemon_stale_completions_total": totals["refused"],
            "hegemon_workers_active": len(working),
            "hegemon_worker_slots": sum(worker.slots for worker in working),
            "hegemon_worker_slots_busy": sum(len(worker.board.running()) for worker in working),
            "hegemon_worker_deaths_total": supervisor.deaths,
        }

    def _of_election(self) -> dict[str, float]:
        leadership = self._from.leadership
        view, office = leadership.shell.view, leadership.office
        # Right after an office is lost the last beat may still show the epoch before it, and an epoch never falls.
        self._epoch = max(self._epoch, self._from.pulse.epoch, office.held.epoch if office.held else 0)
        return {
            "hegemon_election_leader_changes_total": self._from.heard.leader_changes,
            "hegemon_election_term": view.term,
            "hegemon_election_believes": view.role is Role.LEADER,
            "hegemon_leader_active": office.is_active,
            "hegemon_office_epoch": self._epoch,
        }

    def _members(self) -> dict[Health, int]:
        members = self._from.leadership.membership.members()
        return {state: sum(known.member.health is state for known in members) for state in _MEMBER_STATES}

    def _of_depths(self) -> dict[str, list[Series]]:
        found = self._from.figures.depths
        depths: dict[tuple[str, str], int] = {}
        ages: dict[str, float] = {}
        for one in [] if found is None else found.queues:
            queue = self._queues.of(one.queue)
            for state, n in _states(one):
                depths[queue, state] = depths.get((queue, state), 0) + n
            ages[queue] = max(ages.get(queue, 0.0), one.oldest_age_s or 0.0)
        return {
            "hegemon_queue_depth": [(labels, float(n)) for labels, n in depths.items()],
            "hegemon_queue_oldest_age_seconds": [((queue,), age) for queue, age in ages.items()],
        }

    def _of_traffic(self) -> dict[str, list[Series]]:
        election = self._from.leadership.election
        traffic, score = election.traffic, election.health_score
        return {
            "hegemon_swim_health_score": [] if score is None else [((), float(score))],
            "hegemon_transport_frames_total": [
                ((direction,), float(sum(traffic.get(name, 0) for name in names)))
                for direction, names in (("in", _COMING_IN), ("out", _GOING_OUT))
            ],
            "hegemon_transport_frames_dropped_total": [
                ((reason,), float(n)) for reason, n in traffic.items() if reason not in _CARRIED
            ],
        }

    async def _places(self) -> dict[str, list[Series]]:
        """What was told last, where a file system does not answer: it holds up neither the loop nor more than one of
        the threads that others need, however often it is scraped."""
        asked = self._asking
        if asked is None or asked.done():
            asked = self._asking = asyncio.ensure_future(asyncio.to_thread(self._of_places))
        await asyncio.wait({asked}, timeout=PLACES_S)
        if asked.done():
            self._places_told = asked.result()
        return self._places_told

    def _of_places(self) -> dict[str, list[Series]]:
        ends_s = self._from.certificate_ends_s()
        free: list[Series] = []
        size: list[Series] = []
        if self._from.data is not None:
            try:
                usage = shutil.disk_usage(self._from.data)
            except OSError:
                pass  # It is not there: then there is nothing to tell, and a scrape has more to say.
            else:
                free, size = [(("stores",), float(usage.free))], [(("stores",), float(usage.total))]
        return {
            "hegemon_disk_free_bytes": free,
            "hegemon_disk_size_bytes": size,
            "hegemon_tls_certificate_expiry_timestamp_seconds": [] if ends_s is None else [((), ends_s)],
        }


def _states(depth: QueueDepth) -> tuple[tuple[str, int], ...]:
    return ("ready", depth.ready), ("delayed", depth.delayed), ("held", depth.held), ("parked", depth.parked)
