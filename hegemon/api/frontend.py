"""The API as a node's composition root takes it: the API server and the metrics server, started and stopped
together.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from hegemon.api.activity_streams import ActivityStreams
from hegemon.api.addresses import Proxies
from hegemon.api.app import create_app
from hegemon.api.origins import Origins
from hegemon.api.rate_limits import rate_limits
from hegemon.api.server import ApiServer, metrics_app
from hegemon.api.tls import ServerTls, TlsFiles
from hegemon.cluster.ports import Jobs, Metrics, Observer
from hegemon.cluster.protection import Protection
from hegemon.cluster.settings import Settings, TlsSettings
from hegemon.measures import Meters
from hegemon.version import VERSION

METRICS_GRACE_S: Final = 1.0


class HttpFrontend:
    """Serves `jobs` and `observer` on SERVER_PORT, and the metrics also on METRICS_PORT unless that is 0."""

    def __init__(self, settings: Settings) -> None:
        """Raises TlsError when the files of the certificate cannot be used."""
        self._settings = settings
        self.tls = server_tls(settings.tls)
        self._servers: list[ApiServer] = []
        self.streams: ActivityStreams | None = None
        scheme = "https" if self.tls else "http"
        self.url = self._advertised(f"{scheme}://{settings.server.server_host}:{settings.server.server_port}")

    async def start(
        self,
        jobs: Jobs,
        observer: Observer,
        metrics: Metrics | None,
        protection: Protection | None = None,
        meters: Meters | None = None,
    ) -> None:
        """Listen. Without `protection` everybody may do everything. OSError with a sentence when a port cannot be
        had.
        """
        server, limits = self._settings.server, self._settings.limits
        app = create_app(
            jobs,
            observer,
            version=VERSION,
            request_bytes_max=server.max_request_size,
            metrics=metrics,
            limits=rate_limits(limits, authenticated=protection is not None, clock=time.monotonic),
            proxies=Proxies(limits.trusted_proxies),
            origins=Origins(limits.cors_origins, open_node=protection is None),
            identity=None if protection is None else protection.identity,
            audit=None if protection is None else protection.audit,
            config=self._settings.public,
            meters=meters,
            streams_max=limits.max_activity_streams,
        )
        self.streams = app.streams
        api = ApiServer(app, host=server.server_host, port=server.server_port, tls=self.tls, limits=limits)
        await api.start()
        self._servers.append(api)
        self.url = self._advertised(api.url)
        if metrics is not None and server.metrics_port:
            only_metrics = ApiServer(metrics_app(metrics), host=server.server_host, port=server.metrics_port)
            await only_metrics.start()
            self._servers.append(only_metrics)

    def _advertised(self, listens: str) -> str:
        """What others are told: nobody reaches a wildcard."""
        given = self._settings.server.server_advertise
        if given is not None:
            return given.rstrip("/")
        host = self._settings.server.server_host
        wildcard = {"0.0.0.0": "0.0.0.0", "::": "[::]"}.get(host)  # noqa: S104 - read, not bound
        return listens.replace(wildcard, socket.gethostname(), 1) if wildcard else listens

    @property
    def certificate_ends_s(self) -> float | None:
        """When the API's certificate ends, in seconds since 1970; None without TLS."""
        return None if self.tls is None else self.tls.certificate.not_after.timestamp()

    @property
    def activity_streams(self) -> tuple[int, int]:
        """Clients that follow the activity live, and how many were dropped since the start, too slow to follow."""
        return (0, 0) if self.streams is None else (self.streams.open, self.streams.dropped)

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, answer what is under way within the grace, close."""
        if self.streams is not None:
            self.streams.close()
        for server in self._servers:
            await server.stop(grace_s if server is self._servers[0] else METRICS_GRACE_S)
        self._servers.clear()


def server_tls(settings: TlsSettings) -> ServerTls | None:
    """The TLS of these settings; None where it is off. Raises TlsError."""
    if not settings.tls_enabled or settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    files = TlsFiles(
        settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file, settings.tls_client_auth
    )
    return ServerTls(files)
