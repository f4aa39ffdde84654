"""What `hegemon up` is about to start: the nodes with their ports, and which stores are the user's own.

Everything that can be refused without starting a process is refused here.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hegemon.cluster.settings import ServerSettings, Settings, load

PORT_MAX: Final = 65535
# A node's own way of naming Redis; none of them may contradict the REDIS_URL of a server that we start.
_REDIS_NAMES: Final = ("REDIS_URL", "REDIS_ADDR", "REDIS_PASSWORD", "REDIS_DB")
_REACHED_AT: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class LocalError(Exception):
    """The local cluster cannot start or go on; the message says why, and what to do where that is known."""


@dataclass(frozen=True)
class NodePlan:
    """One node: `environment` is all that it is told, `url` where it answers, `metrics_url` None if metrics are off."""

    id: str
    url: str
    metrics_url: str | None
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A local cluster. `redis_url` and `mongodb_uri` are None where a server is to be started; they may hold passwords.

    `ports` has each port of the metrics that was wanted and the one that was chosen. `notes` are sentences for the
    person. `stop_timeout` is how long a node may take to stop.
    """

    nodes: tuple[NodePlan, ...]
    redis_url: str | None
    mongodb_uri: str | None
    stop_timeout: timedelta
    ports: Mapping[str, int]
    notes: tuple[str, ...]


def make_plan(
    environ: Mapping[str, str],
    *,
    port: int | None,
    handlers: str | None,
    remembered: Mapping[str, int],
    verbose: bool = False,
    nodes: int = 1,
) -> Plan:
    """Plan a cluster from the environment, .env and the command line's options, which win.

    `remembered` are the `ports` of the last plan: their choices are kept where they are still free. Raises
    SettingsError for wrong settings, and LocalError for an API port that cannot be had.
    """
    given = dict(environ)
    if handlers is not None:
        given["HANDLERS"] = handlers
    settings = load(given)
    stores, server = settings.store, settings.server
    own_redis = stores.redis_url_given is not None or "redis_addr" in stores.model_fields_set
    own_mongo = "mongodb_uri" in stores.model_fields_set
    if not own_redis:
        given = {name: text for name, text in given.items() if name not in _REDIS_NAMES}
    if verbose and settings.log.log_format == "auto":
        given["LOG_FORMAT"] = "console"
    first = server.server_port if port is None else port
    api_ports = range(first, first + nodes)
    for api_port in api_ports:
        _demand(server.server_host, api_port)
    metrics = _metrics_ports(server, set(api_ports), remembered)
    return Plan(
        nodes=tuple(_node(i, api_port, metrics, given, settings) for i, api_port in enumerate(api_ports)),
        redis_url=stores.redis_url if own_redis else None,
        mongodb_uri=stores.mongodb_uri if own_mongo else None,
        stop_timeout=settings.cluster.shutdown_timeout + timedelta(seconds=10),
        ports=metrics,
        notes=tuple(
            f"Port {wanted} is taken: the metrics of node-{i} are on port {chosen}."
            for i, (wanted, chosen) in enumerate(metrics.items(), 1)
            if int(wanted) != chosen
        ),
    )


def _node(index: int, port: int, metrics: Mapping[str, int], given: Mapping[str, str], settings: Settings) -> NodePlan:
    server = settings.server
    name = f"node-{index + 1}"
    host = _REACHED_AT.get(server.server_host, server.server_host)
    place = f"[{host}]" if ":" in host else host
    url = f"{'https' if server.tls_enabled else 'http'}://{place}:{port}"
    metrics_port = list(metrics.values())[index] if metrics else 0
    metrics_url = None
    if server.metrics_enabled:
        # The port of its own speaks plain HTTP, whatever the API does.
        metrics_url = f"http://{place}:{metrics_port}/metrics" if metrics_port else f"{url}/metrics"
    own = {"NODE_ID": name, "SERVER_PORT": str(port), "METRICS_PORT": str(metrics_port)}
    return NodePlan(name, url, metrics_url, {**given, **own})


def _demand(host: str, port: int) -> None:
    if port > PORT_MAX:
        raise LocalError(f"port {port} is beyond {PORT_MAX}; choose a lower one with --port")
    error = _obstacle(host, port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise LocalError(f"port {port} is taken: stop what listens there, or choose another one with --port")
    reason = error.strerror or str(error)
    raise LocalError(f"cannot listen on {host}, port {port}: {reason}; choose another port with --port") from error


def _metrics_ports(server: ServerSettings, api_ports: set[int], remembered: Mapping[str, int]) -> dict[str, int]:
    """Each node's wanted port, as text, with the one it gets; empty if metrics have no port of their own."""
    if not server.metrics_enabled or not server.metrics_port:
        return {}
    chosen: dict[str, int] = {}
    for i in range(len(api_ports)):
        wanted = server.metrics_port + i
        unusable = api_ports | set(chosen.values())
        candidates = [remembered.get(str(wanted), wanted), wanted]
        chosen[str(wanted)] = next(
            (
                port
                for port in candidates
                if 0 < port <= PORT_MAX and port not in unusable and _obstacle(server.server_host, port) is None
            ),
            0,
        ) or _free_port(server.server_host, unusable)
    return chosen


def _free_port(host: str, unusable: set[int]) -> int:
    while True:
        with _socket(host) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
        if port not in unusable:
            return port


def _obstacle(host: str, port: int) -> OSError | None:
    """Why nobody could listen there now; None if one can."""
    try:
        with _socket(host) as probe:
            # As the API does, so that a connection in TIME_WAIT does not make the port look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
