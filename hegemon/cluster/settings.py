"""A node's settings, read once at start from the environment and `.env`, refused in sentences when they are wrong.

The environment wins over `.env`. An empty value counts as unset in both: the next source or the default applies.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from dotenv.parser import parse_stream
from pydantic import ValidationError

from hegemon.cluster.audit_settings import AuditSettings
from hegemon.cluster.auth_settings import AuthSettings
from hegemon.cluster.election_settings import ElectionSettings
from hegemon.cluster.job_settings import QueueSettings, WorkerSettings
from hegemon.cluster.limit_settings import LimitSettings
from hegemon.cluster.node_settings import ClusterSettings, LogSettings, ServerSettings, StoreSettings, TracingSettings
from hegemon.cluster.setting_forms import is_loopback
from hegemon.cluster.setting_group import Conflict, Group, Setting
from hegemon.cluster.tls_settings import TlsSettings

__all__ = [
    "AuditSettings",
    "AuthSettings",
    "ClusterSettings",
    "ElectionSettings",
    "LimitSettings",
    "LogSettings",
    "QueueSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TlsSettings",
    "TracingSettings",
    "WorkerSettings",
    "all_settings",
    "load",
]

_LONGEST_SHOWN = 120
_REDIS_PARTS = ("REDIS_ADDR", "REDIS_PASSWORD", "REDIS_DB")

G = TypeVar("G", bound=Group)


class SettingsError(Exception):
    """The settings are wrong. `problems` has one sentence for each: the names, the values as far as they may be shown,
    and what would be right. Nothing was started."""

    code = "settings_invalid"

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        heading = "1 setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        super().__init__("\n  ".join((f"{heading}:", *problems)))


@dataclass(frozen=True)
class Settings:
    """All settings of a node. `warnings` are sentences about names that look like misspelt ones, for the log."""

    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    election: ElectionSettings = field(default_factory=ElectionSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    warnings: tuple[str, ...] = ()
    # OpenTelemetry's own variables, which are no settings of ours: from the environment and the file alike.
    otel: Mapping[str, str] = field(default_factory=dict)

    def groups(self) -> tuple[Group, ...]:
        return (
            self.server,
            self.auth,
            self.tls,
            self.limits,
            self.audit,
            self.cluster,
            self.election,
            self.store,
            self.queue,
            self.worker,
            self.log,
            self.tracing,
        )

    def public(self) -> dict[str, str]:
        """Every setting by environment name, as one would write it. Unset is empty; secrets are masked."""
        return {setting.name: group.shown(setting) for group in self.groups() for setting in group.settings()}

    def conflicts(self) -> Iterator[Conflict]:
        """The rules that do not hold: those of each group and those between groups."""
        for group in self.groups():
            yield from group.conflicts()
        if not is_loopback(self.server.server_host):
            yield from self._exposed()
        taken = {self.server.server_port, self.server.metrics_port if self.server.metrics_enabled else 0}
        if self.election.election_algorithm != "solo" and self.election.cluster_port in taken:
            yield Conflict(
                ("CLUSTER_PORT", "SERVER_PORT", "METRICS_PORT"),
                "CLUSTER_PORT must differ from SERVER_PORT and METRICS_PORT",
            )
        if self.server.max_request_size < self.queue.max_payload_size:
            yield Conflict(
                ("MAX_REQUEST_SIZE", "MAX_PAYLOAD_SIZE"), "MAX_REQUEST_SIZE must not be smaller than MAX_PAYLOAD_SIZE"
            )

    def _exposed(self) -> Iterator[Conflict]:
        """What must not be where others reach the API."""
        if not self.auth.auth_enabled:
            yield Conflict(
                ("SERVER_HOST", "AUTH_ENABLED"),
                "without authentication SERVER_HOST must be loopback (127.0.0.1, ::1 or localhost): set "
                "AUTH_ENABLED=true, JWT_SECRET and TLS_ENABLED=true, or keep to this machine",
            )
        elif not self.tls.tls_enabled and not self.limits.trusted_proxies:
            yield Conflict(
                ("SERVER_HOST", "TLS_ENABLED"),
                "without TLS everybody on the way reads passwords and tokens: set TLS_ENABLED=true, TLS_CERT_FILE and "
                "TLS_KEY_FILE (`hegemon cert` makes both), or name in TRUSTED_PROXIES the proxy before this node that "
                "speaks TLS",
            )
        if self.auth.demo_users:
            yield Conflict(
                ("SERVER_HOST", "DEMO_USERS"), "the passwords of DEMO_USERS are public: SERVER_HOST must be loopback"
            )


def all_settings() -> tuple[Setting, ...]:
    """Every setting there is, in the order of `.env.example`."""
    return tuple(setting for group in Settings().groups() for setting in group.settings())


def load(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Read the settings from `environ` (default: the process's own) over `env_file` (none if it does not exist).

    Raises SettingsError with every wrong value and every broken rule at once.
    """
    values = _merge(os.environ if environ is None else environ, _read_env_file(env_file))
    wrong: dict[str, str] = {}
    settings = Settings(
        server=_build(ServerSettings, values, wrong),
        auth=_build(AuthSettings, values, wrong),
        tls=_build(TlsSettings, values, wrong),
        limits=_build(LimitSettings, values, wrong),
        audit=_build(AuditSettings, values, wrong),
        cluster=_build(ClusterSettings, values, wrong),
        election=_build(ElectionSettings, values, wrong),
        store=_build(StoreSettings, values, wrong),
        queue=_build(QueueSettings, values, wrong),
        worker=_build(WorkerSettings, values, wrong),
        log=_build(LogSettings, values, wrong),
        tracing=_build(TracingSettings, values, wrong),
        warnings=tuple(_misspelt(values)),
        otel={name: text for name, text in values.items() if name.startswith("OTEL_")},
    )
    problems = [f"{_shown(name, values[name])}: {sentence}." for name, sentence in wrong.items()]
    public = settings.public()
    for conflict in settings.conflicts():
        # A wrong value was replaced by its default above: a rule that speaks of it would judge what nobody wrote.
        if wrong.keys().isdisjoint(conflict.names):
            # As it was written, else the default: both of them take part in the conflict.
            shown = ", ".join(_shown(name, values.get(name, public[name])) for name in conflict.names)
            problems.append(f"{shown}: {conflict.sentence}.")
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def _build(group: type[G], values: Mapping[str, str], wrong: dict[str, str]) -> G:
    """The group from its values; those that are wrong go to `wrong` with a sentence and take their defaults."""
    settings = {setting.attribute: setting for setting in group.settings()}
    given = {attribute: values[setting.name] for attribute, setting in settings.items() if setting.name in values}
    try:
        return group.model_validate(given, context=Group.RULES_LATER)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            attribute = str(detail["loc"][0])
            setting = settings[attribute]
            # A form's own sentence stands in the context; what pydantic itself refused has none.
            wrong[setting.name] = str(detail.get("ctx", {}).get("error", f"must be {setting.form.expects}"))
            given.pop(attribute, None)
    return group.model_validate(given, context=Group.RULES_LATER)


def _merge(environ: Mapping[str, str], from_file: Mapping[str, str]) -> dict[str, str]:
    above = {name: text for name, text in environ.items() if text.strip()}
    below = {name: text for name, text in from_file.items() if text.strip()}
    # Redis is named in one of two ways: the way that the environment takes beats the other one in the file, too.
    if "REDIS_URL" in above:
        below = {name: text for name, text in below.items() if name not in _REDIS_PARTS}
    elif "REDIS_ADDR" in above:
        below.pop("REDIS_URL", None)
    return {**below, **above}


def _read_env_file(path: Path | None) -> dict[str, str]:
    """NAME=value lines; `$` is an ordinary character, so that a password may have it."""
    if path is None:
        return {}
    values: dict[str, str] = {}
    unreadable: list[str] = []
    try:
        with path.open(encoding="utf-8") as stream:
            for binding in parse_stream(stream):
                if binding.error or (binding.key is not None and binding.value is None):
                    # The line itself is not shown: it may hold a secret.
                    unreadable.append(f"{path}, line {binding.original.line}: must be NAME=value.")
                elif binding.key is not None and binding.value is not None:
                    values[binding.key] = binding.value
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError((f"{path}: must be a file that can be read: {reason}.",)) from error
    if unreadable:
        raise SettingsError(tuple(unreadable))
    return values


def _shown(name: str, text: str) -> str:
    setting = next(setting for setting in all_settings() if setting.name == name)
    text = setting.form.hide(text.strip())
    if not text.isprintable():
        text = ascii(text)
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "…"
    return f"{name}={text}"


# Names of others that resemble ours.
_FOREIGN: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})


def _misspelt(values: Mapping[str, str]) -> Iterator[str]:
    """Sentences about unknown names that are one slip, or two within a shared word, away from a known one."""
    known = [setting.name for setting in all_settings()]
    for name in sorted(values.keys() - set(known) - _FOREIGN):
        distance, nearest = min((_edit_distance(name, candidate), candidate) for candidate in known)
        shares_a_word = not set(name.split("_")).isdisjoint(nearest.split("_"))
        if distance == 1 or (distance == 2 and shares_a_word):
            yield f"{name} is not a setting of Hegemon and is ignored; did you mean {nearest}?"


def _edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that lead from a to b; 3 stands for 3 or more."""
    if abs(len(a) - len(b)) > 2:
        return 3
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != other))
            if i > 1 and j > 1 and char == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return min(last[-1], 3)
