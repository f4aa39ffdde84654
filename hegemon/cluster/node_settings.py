"""The settings of a node itself: its API, its place in the cluster, its stores and its log."""

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
)
from hegemon.cluster.setting_group import Conflict, Group
from hegemon.cluster.tls_settings import unreadable, with_parameters, wrong_keys

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
        "IPv4 networks. An address beyond this machine needs AUTH_ENABLED, and TLS_ENABLED or TRUSTED_PROXIES.",
    )
    server_port: Annotated[int, Whole(1, 65535)] = Field(
        default=8080, description="The TCP port of the API. It must differ from METRICS_PORT."
    )
    server_advertise: Annotated[str | None, Url(("https", "http"), told=True)] = Field(
        default=None,
        description="Where callers reach this node's API, as the cluster's other nodes and `hegemon cluster` are told: "
        "needed where it is not what the node itself listens on, as behind a proxy or a published port of a container. "
        "Unset: SERVER_HOST and SERVER_PORT, with this host's name in place of a wildcard.",
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

    def conflicts(self) -> Iterator[Conflict]:
        if self.metrics_enabled and self.metrics_port == self.server_port:
            yield Conflict(
                ("METRICS_PORT", "SERVER_PORT"),
                "METRICS_PORT must differ from SERVER_PORT; METRICS_PORT=0 serves metrics on the API's port only",
            )


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

    `mongodb_uri_with_tls` and `redis_url` are plain text that may hold a password: show them only through
    `Settings.public()`.
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
    mongodb_tls_ca_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="The authority of MongoDB's certificate in PEM form; it turns TLS on, and no other authority is "
        "trusted then. For one that the system trusts, tls=true in MONGODB_URI does.",
    )
    mongodb_tls_key_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="This node's certificate and its key, in one PEM file, if MongoDB asks for one. Goes with TLS, by "
        "MONGODB_TLS_CA_FILE or MONGODB_URI.",
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
    redis_tls_ca_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="The authority of Redis' certificate in PEM form, if the system does not know it; no other one is "
        "trusted then. Goes with a REDIS_URL that begins with rediss://.",
    )
    redis_tls_cert_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="This node's certificate in PEM form, if Redis asks for one. Goes with REDIS_TLS_KEY_FILE.",
    )
    redis_tls_key_file: Annotated[Path | None, File()] = Field(
        default=None, description="The private key of REDIS_TLS_CERT_FILE in PEM form, without a passphrase."
    )
    payload_encryption_keys: Annotated[SecretStr | None, Secret()] = Field(
        default=None,
        description="Keys that payloads and results are encrypted with wherever they are stored, as ID:KEY separated "
        "by commas, each KEY 32 bytes in base64 (`openssl rand -base64 32`); the same on all nodes. The first "
        "encrypts, all decrypt: to rotate, add the new key at the end everywhere, then put it first, and keep the old "
        "one as long as jobs are kept. Unset: nothing is encrypted. Never printed.",
    )
    redis_timeout: StoreTimeout = Field(
        default=2 * _SECOND,
        description="How long one operation on Redis may take before the connection counts as lost. A leader does "
        "nothing while it waits, so keep it below WORKER_LEASE.",
    )
    store_data_dir: Annotated[Path | None, File()] = Field(
        default=None,
        description="Where the stores keep their data, if that is on this machine: how much room its file system has "
        "is then among the metrics. `hegemon up` sets it for the stores that it starts.",
    )

    @property
    def redis_url(self) -> str:
        """REDIS_URL with the files of its TLS, else the URL that REDIS_ADDR, REDIS_PASSWORD and REDIS_DB make. It holds
        the password.
        """
        if self.redis_url_given is not None:
            files = {
                "ssl_ca_certs": self.redis_tls_ca_file,
                "ssl_certfile": self.redis_tls_cert_file,
                "ssl_keyfile": self.redis_tls_key_file,
            }
            return with_parameters(self.redis_url_given, files)
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        credentials = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{credentials}{self.redis_addr}/{self.redis_db}"

    @property
    def mongodb_uri_with_tls(self) -> str:
        """MONGODB_URI with the files of its TLS. It may hold a password."""
        files = {"tlsCAFile": self.mongodb_tls_ca_file, "tlsCertificateKeyFile": self.mongodb_tls_key_file}
        on = {"tls": "true"} if self.mongodb_tls_ca_file else {}
        return with_parameters(self.mongodb_uri, {**on, **files})

    def conflicts(self) -> Iterator[Conflict]:
        if self.payload_encryption_keys is not None:
            yield from wrong_keys(self.payload_encryption_keys.get_secret_value())
        yield from self._tls_conflicts()
        if self.redis_url_given is None:
            return
        for attribute in ("redis_addr", "redis_password", "redis_db"):
            if attribute in self.model_fields_set:
                name = attribute.upper()
                yield Conflict(("REDIS_URL", name), f"REDIS_URL and {name} exclude each other")

    def _tls_conflicts(self) -> Iterator[Conflict]:
        redis = {
            "REDIS_TLS_CA_FILE": self.redis_tls_ca_file,
            "REDIS_TLS_CERT_FILE": self.redis_tls_cert_file,
            "REDIS_TLS_KEY_FILE": self.redis_tls_key_file,
        }
        given = [name for name, path in redis.items() if path is not None]
        if given and not (self.redis_url_given or "").startswith("rediss://"):
            yield Conflict(("REDIS_URL", *given), f"{given[0]} needs a REDIS_URL that begins with rediss://")
        if (self.redis_tls_cert_file is None) is not (self.redis_tls_key_file is None):
            yield Conflict(
                ("REDIS_TLS_CERT_FILE", "REDIS_TLS_KEY_FILE"), "REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together"
            )
        mongodb = {"MONGODB_TLS_CA_FILE": self.mongodb_tls_ca_file, "MONGODB_TLS_KEY_FILE": self.mongodb_tls_key_file}
        yield from unreadable({**redis, **mongodb})


class LogSettings(Group):
    """How much is logged, and in which shape."""

    log_level: Annotated[LogLevel, Choice(get_args(LogLevel))] = Field(
        default="info",
        description="The least severe messages that are logged. debug writes lines for every job, as far as "
        "LOG_SAMPLING lets it, and costs speed.",
    )
    log_format: Annotated[LogFormat, Choice(get_args(LogFormat))] = Field(
        default="auto",
        description="json for machines, console for people; auto is console on a terminal and json elsewhere.",
    )
    log_sampling: Annotated[int, Whole(0, 1_000_000)] = Field(
        default=20,
        description="How many lines of one kind a process writes in a second; the rest is counted, and told in one "
        "line, lines_suppressed. Lines of handlers are always written. 0 writes everything.",
    )
    log_kept: Annotated[int, Size(0, _GIB)] = Field(
        default=2 * _MIB,
        description="How much of its last log lines, and of its workers', a node keeps in memory for `hegemon logs`. 0 "
        "keeps none.",
    )


class TracingSettings(Group):
    """Whether jobs are traced by OpenTelemetry."""

    tracing_enabled: YesNo = Field(
        default=False,
        description="Whether spans of submissions and attempts are sent to a collector by OTLP over HTTP; needs the "
        "extra `hegemon[otel]`. OpenTelemetry's own variables say where to and how many, in the environment or in "
        ".env: see docs/tracing.md. A caller's trace context reaches handlers either way.",
    )
