"""The paths that older clients use. Each is its twin under another name: the same handlers, the same row of the table
of access, the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

T = TypeVar("T")

TWINS: Final[Mapping[str, str]] = {
    "/jobs": "/api/v1/jobs",
    "/jobs/{id}": "/api/v1/jobs/{id}",
    "/workers": "/api/v1/workers",
    "/stats": "/api/v1/stats",
    "/events": "/api/v1/activity",
    "/ready": "/readyz",
}
# These never had another name: /metrics, /health.


def with_twins(resources: Mapping[str, T]) -> dict[str, T]:
    """The resources by path, older paths included. A twin that is not served has no older path either."""
    older = {path: resources[twin] for path, twin in TWINS.items() if twin in resources and path not in resources}
    return {**resources, **older}
