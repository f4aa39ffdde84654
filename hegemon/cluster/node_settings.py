"""The settings of a node itself: its API, its place in the cluster, its stores and its log."""

import os
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import quote

from pydantic import Field, SecretStr

from hegemon.cluster.setting_forms import (
    Address,
    Choice,
    Duration,
    File,
    Flag,
    Host,
    Name,
    Secret,
    Size,
    Url,
    Whole,
    is_loopback,
)
from hegemon.cluster.setting_group import Conflict, Group

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_MS, _SECOND, _MINUTE, _HOUR = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
_ZERO, _DAY = timedelta(0), timedelta(days=1)

BalancerStrategy = Literal["round_robin", "least_loaded", "random", "priority"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["auto", "json", "console"]

YesNo = Annotated[bool, Flag()]
StoreTimeout = Annotated[timedelta, Duration(10 * _MS, 5 * _MINUTE)]


class ServerSettings(Group):
    """Where the API listens, and who may reach it."""

    server_host: Annotated[str, Host()] = Field(
        default="127.0.0.1",
        description="The address that the API listens on: 127.0.0.1 or ::1 for this machine only, 0.0.0.0 for all "
        "IPv4 networks. Without authentication an address beyond this machine needs ALLOW_INSECURE_BIND.",
    )
    server_port: Annotated[int, Whole(1, 65535)] = Field(
        default=8080, description="The TCP port of the API. It must differ from METRICS_PORT."
    )
    allow_insecure_bind: YesNo = Field(
        default=False,
        description="Lets the API listen beyond this machine while AUTH_ENABLED is off: whoever reaches SERVER_HOST "
        "can then submit, read and cancel every job. Only for networks in which everybody is trusted.",
    )
    max_request_size: Annotated[int, Size(_KIB, _GIB)] = Field(
        default=16 * _MIB,
        description="The largest request body; a larger one gets 413. Each request in flight may take that much "
        "memory. It bounds a batch as a whole, and must not be smaller than MAX_PAYLOAD_SIZE.",
    )
    metrics_enabled: YesNo = Field(
        default=True,
        description="Whether Prometheus metrics are served: under /metrics of the API, and on METRICS_PORT.",
    )
    metrics_port: Annotated[int, Whole(0, 65535)] = Field(
        default=9090,
        description="A port of its own for metrics, on SERVER_HOST, so that a scraper needs no access to the API. 0 "
        "serves them on the API's port only. Without effect while METRICS_ENABLED is off.",
    )
    auth_enabled: YesNo = Field(
        default=False,
        description="Whether callers must prove who they are. Not built into this version yet: it must stay false, "
        "and SERVER_HOST on loopback.",
    )
    jwt_secret: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="The key that signs tokens once AUTH_ENABLED can be on, the same on all nodes. Never printed.",
    )
    tls_enabled: YesNo = Field(
        default=False, description="Whether the API speaks HTTPS instead of HTTP. Needs TLS_CERT_FILE and TLS_KEY_FILE."
    )
    tls_cert_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="The certificate in PEM form, followed by those that lead to its root. Read at start, with "
        "TLS_ENABLED.",
    )
    tls_key_file: Annotated[Path | None, File()] = Field(
        default=None, description="The private key of TLS_CERT_FILE in PEM form, without a passphrase."
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.auth_enabled:
            yield Conflict(
                ("AUTH_ENABLED",),
                "authentication is not built into this version yet; leave AUTH_ENABLED=false and bind SERVER_HOST "
                "to loopback",
            )
        elif not is_loopback(self.server_host) and not self.allow_insecure_bind:
            yield Conflict(
                ("SERVER_HOST", "AUTH_ENABLED", "ALLOW_INSECURE_BIND"),
                "without authentication SERVER_HOST must be loopback (127.0.0.1, ::1 or localhost), unless "
                "ALLOW_INSECURE_BIND=true says that everybody who can reach this node is trusted",
            )
        if self.metrics_enabled and self.metrics_port == self.server_port:
            yield Conflict(
                ("METRICS_PORT", "SERVER_PORT"),
                "METRICS_PORT must differ from SERVER_PORT; METRICS_PORT=0 serves metrics on the API's port only",
            )
        yield from self._tls_conflicts()

    def _tls_conflicts(self) -> Iterator[Conflict]:
        if not self.tls_enabled:
            return
        files = {"TLS_CERT_FILE": self.tls_cert_file, "TLS_KEY_FILE": self.tls_key_file}
        if None in files.values():
            yield Conflict(("TLS_ENABLED", *files), "TLS_ENABLED needs TLS_CERT_FILE and TLS_KEY_FILE")
        for name, path in files.items():
            if path is not None and not (os.access(path, os.R_OK) and path.is_file()):
                yield Conflict((name,), f"{name} must be the path of a file that exists and can be read")


def default_node_id() -> str:
    """The host's name with every character that a NODE_ID may not have replaced by a dash."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "node"


class ClusterSettings(Group):
    """Who this node is, how it takes its share of the work, and how it stops."""

    cluster_id: Annotated[str, Name("A-Za-z0-9_-", 64)] = Field(
        default="hegemon",
        description="The cluster that this node belongs to, the same on all its nodes. It names the keys in Redis and "
        "marks every job, so that clusters can share stores; a node refuses stores that belong to another "
        "one.",
    )
    node_id: Annotated[str, Name("A-Za-z0-9_.-", 64)] = Field(
        default_factory=default_node_id,
        description="This node's name, unique within CLUSTER_ID, and kept over restarts. Unset: the host's name.",
    )
    node_priority: Annotated[int, Whole(-1_000_000, 1_000_000)] = Field(
        default=0,
        description="How much this node is preferred, the highest first, by LOAD_BALANCER_STRATEGY=priority; without "
        "effect under the other strategies.",
    )
    load_balancer_strategy: Annotated[BalancerStrategy, Choice(get_args(BalancerStrategy))] = Field(
        default="least_loaded",
        description="Which worker gets the next job: round_robin in turn, least_loaded the one with the fewest jobs "
        "for its slots, random any with room, priority fills the node with the highest NODE_PRIORITY "
        "first.",
    )
    shutdown_timeout: Annotated[timedelta, Duration(_ZERO, _DAY)] = Field(
        default=30 * _SECOND,
        description="How long a stopping node lets running jobs finish before it hands them back to be run again. 0 "
        "hands them back at once. Whatever stops the node (systemd, a container runtime) must wait longer "
        "than this.",
    )


class StoreSettings(Group):
    """Where MongoDB and Redis are, and how long to wait for them.

    `mongodb_uri` and `redis_url` are plain text that may hold a password: show them only through `Settings.public()`.
    """

    mongodb_uri: Annotated[str, Url(("mongodb", "mongodb+srv"))] = Field(
        default="mongodb://127.0.0.1:27017/?replicaSet=rs0",
        description="MongoDB, which keeps every job. It must be a replica set, of one member at least, since batches "
        "are transactions. Its password is hidden wherever the URI is shown.",
    )
    mongodb_database: Annotated[str, Name("A-Za-z0-9_-", 63)] = Field(
        default="hegemon", description="The database within MONGODB_URI."
    )
    mongodb_timeout: StoreTimeout = Field(
        default=5 * _SECOND,
        description="How long one operation on MongoDB may take before callers get 503 and the node tries again. "
        "Longer rides out a change of primary; shorter tells callers sooner.",
    )
    redis_url_given: Annotated[str | None, Url(("redis", "rediss"))] = Field(
        default=None,
        json_schema_extra={"env": "REDIS_URL"},
        description="Redis or Valkey, which holds the queues, as redis://[user][:password]@host:port/db, or rediss:// "
        "for TLS. Use either this or REDIS_ADDR, REDIS_PASSWORD and REDIS_DB; the one in the environment "
        "beats the other in .env. Its password is hidden wherever the URL is shown.",
    )
    redis_addr: Annotated[str, Address()] = Field(
        default="127.0.0.1:6379",
        description="Redis as host:port, in place of REDIS_URL. Its eviction policy must be noeviction.",
    )
    redis_password: Annotated[SecretStr | None, Secret()] = Field(
        default=None, description="The password that goes with REDIS_ADDR. Never printed."
    )
    redis_db: Annotated[int, Whole(0, 65535)] = Field(
        default=0, description="The number of the database that goes with REDIS_ADDR."
    )
    redis_timeout: StoreTimeout = Field(
        default=2 * _SECOND,
        description="How long one operation on Redis may take before the connection counts as lost. A leader does "
        "nothing while it waits, so keep it below WORKER_LEASE.",
    )

    @property
    def redis_url(self) -> str:
        """REDIS_URL if given, else the URL that REDIS_ADDR, REDIS_PASSWORD and REDIS_DB make. It holds the password."""
        if self.redis_url_given is not None:
            return self.redis_url_given
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        credentials = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{credentials}{self.redis_addr}/{self.redis_db}"

    def conflicts(self) -> Iterator[Conflict]:
        if self.redis_url_given is None:
            return
        for attribute in ("redis_addr", "redis_password", "redis_db"):
            if attribute in self.model_fields_set:
                name = attribute.upper()
                yield Conflict(("REDIS_URL", name), f"REDIS_URL and {name} exclude each other")


class LogSettings(Group):
    """How much is logged, and in which shape."""

    log_level: Annotated[LogLevel, Choice(get_args(LogLevel))] = Field(
        default="info",
        description="The least severe messages that are logged. debug writes lines for every job and costs speed.",
    )
    log_format: Annotated[LogFormat, Choice(get_args(LogFormat))] = Field(
        default="auto",
        description="json for machines, console for people; auto is console on a terminal and json elsewhere.",
    )
