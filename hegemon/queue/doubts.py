"""Writes whose outcome is unknown and could not be read back at once: looked for until they show up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
LOOK_MAX: Final = 1000
# A write that has not shown up by then was not made; should it be made later still, the leader's audit finds it.
GIVE_UP_S: Final = 60.0


class Doubts:
    """Ids in doubt; `found` is told of those whose documents are there after all."""

    def __init__(self, store: JobStore, found: Callable[[Sequence[str]], None]) -> None:
        self._store = store
        self._found = found
        self._since: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, ids: Sequence[str]) -> None:
        """These may have been written."""
        self._since.update(dict.fromkeys(ids, time.monotonic()))

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._since:
                continue
            try:
                await self._look(list(self._since)[:LOOK_MAX])
            except StoreUnavailable:
                pass  # Still away: looked for again.
            except Exception:  # a fault must not leave the others in doubt for ever
                log.exception("doubts_failed")

    async def _look(self, ids: list[str]) -> None:
        present = await self._store.present(ids)
        now = time.monotonic()
        for job_id in ids:
            if job_id in present or now - self._since[job_id] > GIVE_UP_S:
                del self._since[job_id]
        self._found([job_id for job_id in ids if job_id in present])
