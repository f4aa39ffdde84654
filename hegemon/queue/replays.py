"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): what a request is told whose key was used before.

| a request under this key        | the same body                     | another body           |
|---------------------------------|-----------------------------------|------------------------|
| is being processed, by any node | `IdempotencyKeyInFlight`          | the same               |
| was carried out                 | its job, or its batch's, once more | `IdempotencyKeyReused` |
| was refused, or is forgotten    | it is carried out                 | the same               |

A key belongs to its scope, the caller. It stands in the document of the job that was accepted under it, of a batch in
that of its first job, with a digest of the body and the ids of the batch: they become durable together, a unique index
decides between nodes, and the key is forgotten with that job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hegemon.queue.breaker import Breaker
from hegemon.queue.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from hegemon.queue.jobs import Document, NewJob, same_body
from hegemon.queue.queries import JobQueries
from hegemon.queue.sealing import Sealer

_RETRY_S = 1.0


class Replays:
    """The keys that this node's requests hold, and what earlier ones did."""

    def __init__(self, queries: JobQueries, breaker: Breaker, sealer: Sealer) -> None:
        self._queries = queries
        self._breaker = breaker
        self._sealer = sealer
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, scope: str, key: str | None) -> Iterator[None]:
        """For as long as a request under this key is processed; IdempotencyKeyInFlight if one is already. None is no
        key."""
        if key is None:
            yield
            return
        if (scope, key) in self._held:
            raise IdempotencyKeyInFlight(retry_after_s=_RETRY_S)
        self._held.add((scope, key))
        try:
            yield
        finally:
            self._held.discard((scope, key))

    async def earlier(self, body: NewJob | Sequence[NewJob], scope: str, key: str) -> Document:
        """The document that this key stands in, which was met when it was to be written again.
        IdempotencyKeyReused for another body, IdempotencyKeyInFlight when it is not there (yet), StoreUnavailable."""
        async with self._breaker.guard():
            found = await self._queries.by_key(scope, key)
        if found is None:
            raise IdempotencyKeyInFlight(retry_after_s=_RETRY_S)
        if not same_body(body, found["idempotency"], self._sealer):
            raise IdempotencyKeyReused
        return found
