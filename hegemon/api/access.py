"""Which role may call what: the one table. The pipeline asks it, the documentation is written from it, and tests hold
it against every operation that there is, row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from hegemon.auth.roles import EVERY_ROLE, Role


class Access(msgspec.Struct, frozen=True):
    """Who may call an operation: everybody without a credential if `public`, else these roles."""

    roles: frozenset[Role]
    public: bool = False

    def allows(self, role: Role) -> bool:
        """Whether a caller of this role may."""
        return self.public or role in self.roles


PUBLIC: Final = Access(EVERY_ROLE, public=True)
# Whoever has a credential.
KNOWN: Final = Access(EVERY_ROLE)
READERS: Final = Access(frozenset({Role.VIEWER, Role.USER, Role.ADMIN}))
SUBMITTERS: Final = Access(frozenset({Role.WORKER, Role.USER, Role.ADMIN}))
USERS: Final = Access(frozenset({Role.USER, Role.ADMIN}))
ADMINS: Final = Access(frozenset({Role.ADMIN}))

ACCESS: Final[Mapping[tuple[str, str], Access]] = MappingProxyType(
    {
        # jobs
        ("POST", "/api/v1/jobs"): SUBMITTERS,
        ("POST", "/api/v1/jobs/batch"): SUBMITTERS,
        ("GET", "/api/v1/jobs"): KNOWN,
        ("GET", "/api/v1/jobs/{id}"): KNOWN,
        ("DELETE", "/api/v1/jobs/{id}"): USERS,
        ("POST", "/api/v1/jobs/{id}/cancel"): USERS,
        ("POST", "/api/v1/jobs/{id}/retry"): USERS,
        ("GET", "/api/v1/jobs/{id}/wait"): KNOWN,
        # dead letters
        ("GET", "/api/v1/dead"): READERS,
        ("POST", "/api/v1/dead/requeue"): USERS,
        ("POST", "/api/v1/dead/purge"): USERS,
        # the cluster
        ("GET", "/api/v1/stats"): READERS,
        ("GET", "/api/v1/workers"): READERS,
        ("GET", "/api/v1/types"): READERS,
        ("GET", "/api/v1/nodes"): READERS,
        ("GET", "/api/v1/leader"): READERS,
        ("GET", "/api/v1/cluster"): READERS,
        ("GET", "/api/v1/activity"): READERS,
        ("GET", "/api/v1/activity/stream"): READERS,
        ("GET", "/api/v1/election"): READERS,
        ("GET", "/api/v1/election/algorithms/{name}"): READERS,
        ("POST", "/api/v1/election/step-down"): ADMINS,
        # what probes and strangers need
        ("GET", "/livez"): PUBLIC,
        ("GET", "/readyz"): PUBLIC,
        ("GET", "/health"): PUBLIC,
        ("GET", "/metrics"): READERS,
        ("GET", "/problems"): PUBLIC,
        ("GET", "/problems/{code}"): PUBLIC,
        ("GET", "/openapi.json"): PUBLIC,
        # who am I
        ("POST", "/auth/login"): PUBLIC,
        ("POST", "/auth/refresh"): PUBLIC,
        ("POST", "/auth/logout"): KNOWN,
        ("GET", "/auth/me"): KNOWN,
        ("POST", "/auth/password"): KNOWN,
        ("GET", "/.well-known/jwks.json"): PUBLIC,
        # users, keys, tokens
        ("GET", "/api/v1/users"): ADMINS,
        ("POST", "/api/v1/users"): ADMINS,
        ("GET", "/api/v1/users/{name}"): ADMINS,
        ("PATCH", "/api/v1/users/{name}"): ADMINS,
        ("DELETE", "/api/v1/users/{name}"): ADMINS,
        ("GET", "/api/v1/keys"): ADMINS,
        ("POST", "/api/v1/keys"): ADMINS,
        ("GET", "/api/v1/keys/{id}"): ADMINS,
        ("DELETE", "/api/v1/keys/{id}"): ADMINS,
        ("POST", "/api/v1/tokens"): ADMINS,
        ("DELETE", "/api/v1/tokens/{id}"): ADMINS,
        # what only admins see
        ("GET", "/api/v1/logs"): ADMINS,
        ("GET", "/api/v1/audit"): ADMINS,
        ("GET", "/api/v1/audit/verification"): ADMINS,
        ("GET", "/api/v1/config"): ADMINS,
    }
)


def access_table() -> str:
    """The table as Markdown: one row an operation, one column a role."""
    lines = [
        f"| | path | anyone | {' | '.join(Role)} |",
        f"|---|---|---|{'---|' * len(Role)}",
    ]
    for (method, path), access in ACCESS.items():
        marks = ["yes" if access.public else "", *("yes" if access.allows(role) else "" for role in Role)]
        lines.append(f"| {method} | `{path}` | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"
