"""The table of domain events: every kind that there is. docs/events.md is written from it, by `event_page`.

Metrics, logs, the ring and the streams know events by this table alone; whoever adds a kind adds it here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from hegemon.events import cluster, jobs, security
from hegemon.events.kind import DomainEvent

_ALL: Final[tuple[type[DomainEvent], ...]] = (
    *(cluster.NodeStarted, cluster.NodeStopping, cluster.NodeStopped, cluster.NodeReincarnated),
    *(cluster.NodeJoined, cluster.NodeLeft, cluster.NodeLost),
    *(cluster.LeaderChanged, cluster.ElectionWon, cluster.ElectionLost),
    *(cluster.OfficeTaken, cluster.OfficeActive, cluster.OfficePaused, cluster.OfficeVacated, cluster.OfficeLost),
    *(cluster.WorkerStarted, cluster.WorkerLost, cluster.WorkerStuck),
    *(cluster.WorkerHeldBack, cluster.WorkerUnloadable, cluster.WorkerClosed),
    *(jobs.JobDead, jobs.JobRetried, jobs.JobCancelled, jobs.JobRequeued, jobs.JobDeleted),
    *(jobs.JobsCompleted, jobs.JobsUnlisted, jobs.JobsRequeued, jobs.JobsPurged, jobs.JobsRecovered),
    *(cluster.RebuildStarted, cluster.RebuildFinished, cluster.HoardReclaimed, cluster.UnindexedFound),
    *(cluster.StoreLost, cluster.StoreBack),
    *(security.LoginFailed, security.Refused, security.Revoked, security.IdentityChanged, security.AuditCutOff),
)
KINDS: Final = MappingProxyType({kind.kind: kind for kind in _ALL})


def about_jobs(kind: str) -> bool:
    """Whether it tells of jobs: there may be many, which must not crowd out what is told of the cluster."""
    return kind.startswith("job")
