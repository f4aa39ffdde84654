"""The port through which a node gives its API a life: the composition root above hands it in."""

from __future__ import annotations

from typing import Protocol

from hegemon.cluster.ports import Jobs, Metrics, Observer
from hegemon.cluster.protection import Protection
from hegemon.measures import Meters


class Frontend(Protocol):
    """The API of a node, given to it from above."""

    url: str

    @property
    def certificate_ends_s(self) -> float | None: ...

    @property
    def activity_streams(self) -> tuple[int, int]: ...

    async def start(
        self, jobs: Jobs, observer: Observer, metrics: Metrics | None, protection: Protection | None, meters: Meters
    ) -> None: ...

    async def stop(self, grace_s: float) -> None: ...
