"""From a credential to a principal: at once for one that was seen before, by a look at its signature or its hash for a
new one.

A credential in the cache is good: it is taken out when it expires, and whenever the list of revocations changes every
one that is void then is taken out in the same step.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import structlog

from hegemon.auth.api_keys import PREFIX, KeyStore
from hegemon.auth.errors import Unauthenticated
from hegemon.auth.issuer import OutsideIssuer
from hegemon.auth.revocations import Revocations, Revoked
from hegemon.auth.roles import Principal
from hegemon.auth.tokens import Tokens, Verified, header
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import QueueError

log = structlog.get_logger(__name__)

CACHE_MAX: Final = 10_000
USED_MAX: Final = 10_000
REASON: Final = "revoked"


class Authenticator:
    """The gate of one node. `known` is on the path of every request: about 1 µs."""

    def __init__(
        self,
        tokens: Tokens,
        keys: KeyStore,
        revocations: Revocations,
        clock: ClusterClock,
        *,
        issuer: OutsideIssuer | None = None,
        cache_max: int = CACHE_MAX,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._revocations = revocations
        self._clock = clock
        self._issuer = issuer
        self._cache: OrderedDict[bytes, Verified] = OrderedDict()
        self._cache_max = cache_max
        self._used: dict[str, int] = {}
        revocations.changed = self._forget

    def known(self, credential: bytes) -> Principal | None:
        """The principal of a credential that was checked before and is good; None if it must be checked (again)."""
        found = self._cache.get(credential)
        if found is None:
            return None
        now_ms = self._clock.now_ms()
        if now_ms >= found.until_ms:
            del self._cache[credential]
            return None
        self._cache.move_to_end(credential)
        if found.key is not None:
            self._used[found.key] = now_ms
        return found.principal

    async def authenticate(self, credential: bytes) -> Principal:
        """Check it. Unauthenticated and TokenExpired; StoreUnavailable when an API key cannot be looked up."""
        verified = await self._verified(credential)
        # Looked at after the last wait: what was revoked meanwhile must not come into the cache.
        if void(verified, self._revocations.revoked):
            raise Unauthenticated(reason=REASON)
        self._cache[credential] = verified
        if len(self._cache) > self._cache_max:
            self._cache.popitem(last=False)
        if verified.key is not None and (verified.key in self._used or len(self._used) < USED_MAX):
            self._used[verified.key] = self._clock.now_ms()
        return verified.principal

    @property
    def fresh(self) -> bool:
        """Whether this node knows of every revocation that is older than a second."""
        return self._revocations.trusted

    async def refresh(self) -> None:
        """Wait until `fresh`, which takes a moment; StoreUnavailable when it takes longer."""
        await self._revocations.until_trusted()

    async def write_used(self) -> None:
        """Write when API keys were last used. What cannot be written now is written later."""
        used, self._used = self._used, {}
        try:
            await self._keys.used(used)
        except QueueError as error:
            self._used = {**used, **self._used}
            log.debug("key_use_unwritten", keys=len(used), reason=str(error))

    async def _verified(self, credential: bytes) -> Verified:
        if credential.startswith(PREFIX):
            return await self._keys.verify(credential)
        if self._issuer is not None:
            head = header(credential)
            if self._tokens.ring.find(head.get("kid")) is None:
                return await self._issuer.verify(credential, head)
        return self._tokens.verify(credential)

    def _forget(self, revoked: Revoked) -> None:
        gone = [credential for credential, verified in self._cache.items() if void(verified, revoked)]
        for credential in gone:
            del self._cache[credential]


def void(verified: Verified, revoked: Revoked) -> bool:
    """Whether a revocation speaks of this credential."""
    principal = verified.principal
    if verified.key is not None:
        return verified.key in revoked.keys
    if verified.token in revoked.tokens or (principal.session is not None and principal.session in revoked.sessions):
        return True
    kind, _, name = principal.id.partition(":")
    return kind == "user" and verified.version < revoked.users.get(name, 0)
