"""The API as a node's composition root takes it: the API server and the metrics server, started and stopped
together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer, metrics_app
from hegemon.cluster.ports import Jobs, Observer
from hegemon.cluster.settings import ServerSettings
from hegemon.version import VERSION

METRICS_GRACE_S: Final = 1.0


class HttpFrontend:
    """Serves `jobs` and `observer` on SERVER_PORT, and the metrics also on METRICS_PORT unless that is 0."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._servers: list[ApiServer] = []
        scheme = "https" if settings.tls_enabled else "http"
        self.url = f"{scheme}://{settings.server_host}:{settings.server_port}"

    async def start(self, jobs: Jobs, observer: Observer, metrics: Callable[[], bytes] | None) -> None:
        """Listen. Raises OSError with a sentence when a port cannot be had."""
        server = self._settings
        app = create_app(jobs, observer, version=VERSION, request_bytes_max=server.max_request_size, metrics=metrics)
        tls = (server.tls_cert_file, server.tls_key_file) if server.tls_enabled else (None, None)
        api = ApiServer(
            app,
            host=server.server_host,
            port=server.server_port,
            tls_cert_file=None if tls[0] is None else str(tls[0]),
            tls_key_file=None if tls[1] is None else str(tls[1]),
        )
        await api.start()
        self._servers.append(api)
        self.url = api.url
        if metrics is not None and server.metrics_port:
            only_metrics = ApiServer(metrics_app(metrics), host=server.server_host, port=server.metrics_port)
            await only_metrics.start()
            self._servers.append(only_metrics)

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, answer what is under way within the grace, close."""
        for server in self._servers:
            await server.stop(grace_s if server is self._servers[0] else METRICS_GRACE_S)
        self._servers.clear()
