"""The dashboards, one a file."""

from typing import Final

from hegemon.monitoring.grafana.dashboard import Dashboard
from hegemon.monitoring.grafana.pages.cluster import CLUSTER_PAGE
from hegemon.monitoring.grafana.pages.election import ELECTION_PAGE
from hegemon.monitoring.grafana.pages.jobs import JOBS_PAGE
from hegemon.monitoring.grafana.pages.node import NODE_PAGE
from hegemon.monitoring.grafana.pages.objectives import OBJECTIVES_PAGE

DASHBOARDS: Final[tuple[Dashboard, ...]] = (CLUSTER_PAGE, ELECTION_PAGE, JOBS_PAGE, NODE_PAGE, OBJECTIVES_PAGE)
