"""Who calls, and as what: the four roles and the principal that every request is made by."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Role(StrEnum):
    """What a caller is. Which role may do what stands in one table, `hegemon.api.access`."""

    VIEWER = "viewer"  # looks at everything but users, keys, the audit log and the configuration; changes nothing
    WORKER = "worker"  # a service that hands jobs on: submits, looks at jobs and waits for them
    USER = "user"  # worker's and viewer's, and changes jobs: cancel, retry, requeue, delete
    ADMIN = "admin"  # everything


class Principal(msgspec.Struct, frozen=True):
    """A caller whose credential was checked. `id` is "user:NAME", "key:ID", "service:NAME" or "anonymous"; idempotency
    keys belong to it, and jobs are stored under it.

    `queues`: the only queues whose jobs it may submit, see and change; None is all of them. `session`: the family of
    refresh tokens that it logged in with, None for other credentials.
    """

    id: str
    role: Role
    queues: frozenset[str] | None = None
    session: str | None = None

    def may_use(self, queue: str) -> bool:
        """Whether jobs of `queue` are its business."""
        return self.queues is None or queue in self.queues


# Everybody, while AUTH_ENABLED is off: the node then listens on loopback only.
ANONYMOUS: Final = Principal("anonymous", Role.ADMIN)
EVERY_ROLE: Final = frozenset(Role)
# The user that a cluster without users gets.
FIRST_ADMIN: Final = "admin"
