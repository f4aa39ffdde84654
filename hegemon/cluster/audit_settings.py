"""The settings of the audit log, and of what a node may connect to on a caller's behalf."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr

from hegemon.auth.audit_chain import Keys
from hegemon.cluster.limit_settings import Network, Networks
from hegemon.cluster.setting_forms import Duration, Secret
from hegemon.cluster.setting_group import Group

_DAY = timedelta(days=1)


class AuditSettings(Group):
    """Who did what: how long it is kept, and what guards it. And where the node itself may connect to."""

    audit_key: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="The key of the audit log's hashes, the same on all nodes. With it, who can write MongoDB but does "
        "not know it can change no entry unseen; without it, only slips and half-hearted changes are found. "
        "Never printed.",
    )
    audit_key_other: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="The AUDIT_KEY of before: entries that were made with it are still verified. Never printed.",
    )
    audit_retention: Annotated[timedelta, Duration(_DAY, 36_500 * _DAY)] = Field(
        default=365 * _DAY,
        description="How long entries of the audit log are kept. The leader removes older ones, behind an entry that "
        "says so; the rest stays verifiable.",
    )
    egress_allow: Annotated[tuple[Network, ...], Networks()] = Field(
        default=(),
        description="Networks that a node may connect to on somebody's behalf (JWT_JWKS_URL today) although they are "
        "private, such as 10.1.0.0/16, separated by commas. Loopback, private, link-local and metadata addresses are "
        "refused otherwise.",
    )

    @property
    def keys(self) -> Keys:
        """The keys of the audit log: the present one, then the one of before."""
        given = (self.audit_key, self.audit_key_other)
        return Keys([key.get_secret_value().encode() for key in given if key is not None])
