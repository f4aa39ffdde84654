"""Walks the stored audit log, a slice at a time, and says whether it is whole."""

from __future__ import annotations

from typing import Final

import msgspec

from hegemon.auth.audit_chain import GENESIS, Fault, Head, Keys, Verifier, checkpoint_of
from hegemon.auth.audit_store import AuditStore

# Entries between two turns of the event loop.
_PAGE: Final = 500


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a slice of the log looked like. `next`: where the next slice begins, None at the end of the log; `head` is
    to be kept elsewhere, as what a later verification must find again."""

    first: int
    last: int
    checked: int
    removed_through: int
    next: int | None
    head: Head | None
    faults: list[Fault]


async def verify(
    store: AuditStore, keys: Keys, *, first: int = 1, limit: int = 10_000, expected: tuple[int, str] | None = None
) -> Verification:
    """Check up to `limit` entries from number `first` on, and at the end the head. `expected` is the number and hash of
    an entry that was in the log before. A slice that would begin behind the head begins where the log ends."""
    removed, prev = checkpoint_of(found) or (0, GENESIS) if (found := await store.checkpoint()) else (0, GENESIS)
    start, keyed, faults = max(first, removed + 1), False, []
    if (head := await store.head()) is not None:
        start = min(start, max(head.seq, removed) + 1)
    if start > removed + 1:
        before = await store.entry(start - 1)
        prev, keyed = (before.hash, bool(before.kid)) if before is not None else (GENESIS, False)
        if before is None:
            faults.append(Fault(start - 1, "missing", f"entry {start - 1} is missing"))
    verifier = Verifier(first=start, prev=prev, keys=keys, keyed=keyed)
    ended = False
    while verifier.checked < limit and not ended:
        page = await store.walk(verifier.next, min(_PAGE, limit - verifier.checked))
        for entry in page:
            verifier.feed(entry)
        if not page:
            # Read behind the entries: it may be ahead of them, when some were added meanwhile, and never behind.
            head = await store.head()
            ended = head is None or head.seq < verifier.next or not await store.walk(verifier.next, 1)
    if ended:
        verifier.end(head)
    if expected is not None:
        faults += await _kept(store, expected, removed)
    return Verification(
        first=start,
        last=verifier.next - 1,
        checked=verifier.checked,
        removed_through=removed,
        next=None if ended else verifier.next,
        head=head,
        faults=[*faults, *verifier.faults],
    )


async def _kept(store: AuditStore, expected: tuple[int, str], removed: int) -> list[Fault]:
    seq, hash_ = expected
    if seq <= removed:
        return []
    found = await store.entry(seq)
    if found is None:
        return [Fault(seq, "rolled_back", f"entry {seq}, which was there before, is missing")]
    if found.hash != hash_:
        return [Fault(seq, "rolled_back", f"entry {seq} is not the one that was there before")]
    return []
