"""Large payloads: their bodies in Redis are stubs, and a worker reads them from MongoDB when it takes the job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.queries import JobQueries
from hegemon.queue.sealing import Sealed
from hegemon.worker.execution import Taken

AGAIN_S: Final = 0.5


async def fetch_payloads(queries: JobQueries, jobs: Sequence[Taken]) -> tuple[list[Taken], list[tuple[str, int]]]:
    """The jobs with their payloads, and the claims (id, attempt) of those whose documents are gone. One query for all;
    asks until MongoDB answers.
    """
    stubs = [job.entry.id for job in jobs if job.body.payload is None]
    found = None
    while found is None:
        try:
            found = await queries.many(stubs, {"payload": 1})
        except StoreUnavailable:
            await asyncio.sleep(AGAIN_S)
    whole: list[Taken] = []
    gone: list[tuple[str, int]] = []
    for job in jobs:
        if job.body.payload is not None:
            whole.append(job)
        elif (document := found.get(job.entry.id)) is not None:
            whole.append(Taken(job.entry, job.body.with_payload(Sealed.of(document["payload"]))))
        else:
            gone.append((job.entry.id, job.entry.attempt))
    return whole, gone
