"""What `hegemon up` is about to start: the nodes with their ports, and which stores are the user's own.

Everything that can be refused without starting a process is refused here.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, get_args

from dotenv import dotenv_values

from hegemon.auth.identity import key_ring
from hegemon.auth.tokens import Tokens
from hegemon.cluster.algorithm_guide import default_algorithm
from hegemon.cluster.election_settings import ElectionAlgorithm
from hegemon.cluster.protection import identity_options
from hegemon.cluster.settings import ServerSettings, Settings, load
from hegemon.queue.clock import ClusterClock

PORT_MAX: Final = 65535
NODES_MAX: Final = 10
ALGORITHMS: Final = get_args(ElectionAlgorithm)
# Below the ports that systems lend to outgoing connections: a node that is started again must find its own free.
_PEER_PORTS: Final = range(20_000, 30_000)
_PEER_HOST: Final = "127.0.0.1"
# A node's own way of naming Redis; none of them may contradict the REDIS_URL of a server that we start.
_REDIS_NAMES: Final = ("REDIS_URL", "REDIS_ADDR", "REDIS_PASSWORD", "REDIS_DB")
_REACHED_AT: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class LocalError(Exception):
    """The local cluster cannot start or go on; the message says why, and what to do where that is known."""


@dataclass(frozen=True)
class NodePlan:
    """One node: `environment` is all that it is told, `url` where it answers, `metrics_url` None if metrics are off,
    `directory` where it runs, None for that of this process. `tokens` makes what it accepts as a credential, None if
    it wants none."""

    id: str
    url: str
    metrics_url: str | None
    environment: Mapping[str, str]
    directory: Path | None = None
    tokens: Tokens | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Plan:
    """A local cluster. `redis_url` and `mongodb_uri` are None where a server is to be started; they may hold passwords.

    `ports` has each port of the metrics that was wanted and the one that was chosen, and for each node of several
    `peer/ID` with the port of its traffic with the others. `notes` are sentences for the person. `stop_timeout` is how
    long a node may take to stop. `guarded`: callers need credentials; `admin_unset`: nothing says the password of the
    first admin, so that a node would make one up and show it to its log.
    """

    nodes: tuple[NodePlan, ...]
    algorithm: str
    redis_url: str | None
    mongodb_uri: str | None
    stop_timeout: timedelta
    ports: Mapping[str, int]
    notes: tuple[str, ...]
    guarded: bool = False
    admin_unset: bool = False

    def telling(self, more: Mapping[str, str]) -> Plan:
        """The same, with more in each node's environment."""
        nodes = tuple(replace(node, environment={**node.environment, **more}) for node in self.nodes)
        return replace(self, nodes=nodes)


@dataclass(frozen=True)
class Home:
    """What a cluster keeps between its runs, and gives to its nodes: the directory in which each has its own, the
    secret of what they say to each other, and the `ports` of the last plan."""

    path: Path
    secret: str
    ports: Mapping[str, int]


def make_plan(
    environ: Mapping[str, str],
    home: Home,
    *,
    port: int | None = None,
    handlers: str | None = None,
    verbose: bool = False,
    nodes: int = 1,
    algorithm: str | None = None,
    env_file: Path | None = Path(".env"),
) -> Plan:
    """Plan a cluster from the environment, .env and the command line's options, which win.

    Without `env_file` the nodes run in the home, where there is none either. The home's ports are kept where they are
    still free. `algorithm` None takes ELECTION_ALGORITHM, or what suits so many nodes. Raises SettingsError for wrong
    settings, and LocalError for an API port that cannot be had, or for an algorithm that cannot lead so many nodes.
    """
    given = dict(environ)
    if handlers is not None:
        given["HANDLERS"] = handlers
    elected_by = _algorithm(given, env_file, nodes, algorithm)
    # What only a single node's plan can say is said per node; here it must not contradict the rest.
    settings = load(
        {**given, "ELECTION_ALGORITHM": "gossip", "CLUSTER_HOST": _PEER_HOST, "CLUSTER_PORT": "1"}, env_file
    )
    stores, server, auth = settings.store, settings.server, settings.auth
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
    _demand_certificate(settings, given)
    tokens = _tokens(settings)
    metrics = _metrics_ports(server, set(api_ports), home.ports)
    names = [f"node-{i + 1}" for i in range(nodes)]
    given["ELECTION_ALGORITHM"] = elected_by
    peers = {} if elected_by == "solo" else _peer_ports(names, {*api_ports, *metrics.values()}, home.ports)
    planned = []
    for i, (name, api_port) in enumerate(zip(names, api_ports, strict=True)):
        environment = given | (_peer_settings(name, peers, given, home) if peers else {})
        node = replace(_node(i, name, api_port, metrics, environment, settings), tokens=tokens)
        planned.append(node if env_file is not None else replace(node, directory=home.path))
    return Plan(
        nodes=tuple(planned),
        algorithm=elected_by,
        redis_url=stores.redis_url if own_redis else None,
        mongodb_uri=stores.mongodb_uri_with_tls if own_mongo else None,
        stop_timeout=settings.cluster.shutdown_timeout + timedelta(seconds=10),
        ports={**metrics, **{f"peer/{name}": peer_port for name, peer_port in peers.items()}},
        notes=tuple(
            f"Port {wanted} is taken: the metrics of node-{i} are on port {chosen}."
            for i, (wanted, chosen) in enumerate(metrics.items(), 1)
            if int(wanted) != chosen
        ),
        guarded=auth.auth_enabled,
        admin_unset=auth.auth_enabled and auth.admin_password is None and not auth.demo_users,
    )


def _demand_certificate(settings: Settings, given: Mapping[str, str]) -> None:
    if settings.tls.tls_enabled and settings.tls.tls_client_auth == "required" and not given.get("HEGEMON_CLIENT_CERT"):
        raise LocalError(
            "TLS_CLIENT_AUTH=required: name a certificate of TLS_CLIENT_CA_FILE with its key in HEGEMON_CLIENT_CERT, "
            "by which the nodes can be looked at from here; or take TLS_CLIENT_AUTH=optional"
        )


def _tokens(settings: Settings) -> Tokens | None:
    """What makes the credentials by which we look at our own nodes; None where they want none."""
    if not settings.auth.auth_enabled:
        return None
    cluster_id = settings.cluster.cluster_id
    return Tokens(key_ring(identity_options(settings.auth, cluster_id)), ClusterClock(), cluster_id=cluster_id)


def _algorithm(given: Mapping[str, str], env_file: Path | None, nodes: int, wanted: str | None) -> str:
    source = "--algorithm"
    if wanted is None:
        source = "ELECTION_ALGORITHM"
        by_file = (dotenv_values(env_file, interpolate=False) if env_file else {}).get(source) or ""
        wanted = (given.get(source, "").strip() or by_file.strip()) or default_algorithm(nodes)
    wanted = wanted.lower()
    if wanted not in ALGORITHMS:
        raise LocalError(f"{source} {wanted}: it must be one of {', '.join(ALGORITHMS)}")
    if wanted == "solo" and nodes > 1:
        raise LocalError(f"solo is one node that leads itself; {nodes} nodes need bully, raft or gossip ({source})")
    return wanted


def _peer_settings(name: str, ports: Mapping[str, int], given: Mapping[str, str], home: Home) -> dict[str, str]:
    """How one of several nodes finds the others; each knows all of them, as Raft's voters must."""
    return {
        "CLUSTER_HOST": _PEER_HOST,
        "CLUSTER_PORT": str(ports[name]),
        "CLUSTER_ADVERTISE": f"{_PEER_HOST}:{ports[name]}",
        "CLUSTER_PEERS": ",".join(f"{each}@{_PEER_HOST}:{port}" for each, port in ports.items()),
        "CLUSTER_SECRET": given.get("CLUSTER_SECRET", "").strip() or home.secret,
        "DATA_DIR": str(home.path / name),
    }


def _node(
    index: int, name: str, port: int, metrics: Mapping[str, int], given: Mapping[str, str], settings: Settings
) -> NodePlan:
    server = settings.server
    host = _REACHED_AT.get(server.server_host, server.server_host)
    place = f"[{host}]" if ":" in host else host
    url = f"{'https' if settings.tls.tls_enabled else 'http'}://{place}:{port}"
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


def free_run(count: int, host: str = _PEER_HOST) -> int:
    """The first of so many ports in a row that are free now, for an API each. LocalError if none are found."""
    for first in random.sample(_PEER_PORTS, 200):
        if first + count in _PEER_PORTS and all(_obstacle(host, port) is None for port in range(first, first + count)):
            return first
    raise LocalError(f"no {count} free ports in a row were found from {_PEER_PORTS[0]} to {_PEER_PORTS[-1]}")


def _peer_ports(names: Sequence[str], taken: set[int], remembered: Mapping[str, int]) -> dict[str, int]:
    """A port for each node's traffic with the others, UDP and TCP: its last one if that is still free."""
    chosen: dict[str, int] = {}
    for name in names:
        candidates = [remembered.get(f"peer/{name}", 0), *random.sample(_PEER_PORTS, 200)]
        port = next((port for port in candidates if port in _PEER_PORTS and port not in taken and _is_free(port)), None)
        if port is None:
            raise LocalError(
                f"no free port was found for the nodes' traffic from {_PEER_PORTS[0]} to {_PEER_PORTS[-1]}"
            )
        chosen[name] = port
        taken.add(port)
    return chosen


def _is_free(port: int) -> bool:
    if _obstacle(_PEER_HOST, port) is not None:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((_PEER_HOST, port))
        except OSError:
            return False
    return True


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
