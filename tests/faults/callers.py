"""Callers that hammer a node through a fault and look at every answer: accepted, or "later" with a time to come back.

What they were told is accepted goes into the trial's journal; the judge has the rest.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from tests.faults.trial import Trial
from tests.waiting import PATIENCE_S, wait_until

LATER = frozenset({"store_unavailable", "outcome_unknown", "overloaded", "queue_full"})
# Two store calls that run into their time-outs (a write, then its reading back), on a busy machine. On one so busy that
# an answer which needs no store at all has taken longer than PULSE_S, as many times more.
ANSWER_S, PULSE_S = 15.0, 0.5
# An outage may cost buffers, which are bounded, and no more.
GROWTH_MB = 60.0
# A crowd that would fill memory within seconds, were it let in: some 20 MB a second.
CROWD = {"singles": 24, "batches": 8, "padding": 8000}
BATCH = 20
PATIENT_S = 90.0
PAUSE_S = 0.02


def resident_mb(pid: int) -> float:
    """RSS of a process in MB; Linux."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status tells no VmRSS")


class Callers:
    """Callers of one trial's node. `answers` counts (status, code); `wrong` is what no caller may ever see."""

    def __init__(
        self,
        trial: Trial,
        *,
        singles: int = 4,
        batches: int = 1,
        keyed: int = 2,
        seconds: float = 0.005,
        padding: int = 0,
    ) -> None:
        """So many callers of each kind, at once. Their jobs run for `seconds` and carry `padding` bytes more than they
        need: payloads are kept to the byte.
        """
        self.trial = trial
        self.answers: Counter[tuple[int, str]] = Counter()
        self.wrong: list[str] = []
        self.keys: dict[str, str] = {}
        self._kinds = [self._single] * singles + [self._batch] * batches + [self._keyed] * keyed
        job = f'{{"type":"journaled","payload":{{"seconds":{seconds}{" " * padding}}}}}'
        self._job = job.encode()
        self._jobs = f'{{"jobs":[{",".join([job] * BATCH)}]}}'.encode()
        self._over = False
        self._numbers = itertools.count()
        self._slow: list[tuple[float, str]] = []
        self._slowest_pulse_s = 0.0

    def later(self) -> int:
        """Answers so far that said "later"."""
        return sum(count for (status, _), count in self.answers.items() if status in (429, 503))

    def accepted(self) -> int:
        """Answers so far that accepted something."""
        return sum(count for (status, _), count in self.answers.items() if status in (200, 201))

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """They call while the block runs; whoever has a key goes on until it is acknowledged."""
        self._over = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulse())
            for kind in self._kinds:
                group.create_task(kind())
            try:
                yield
            finally:
                self._over = True

    async def until_refused(self, count: int = 20, timeout: float = PATIENCE_S) -> None:
        """Wait until so many more calls were told to come back later."""
        target = self.later() + count
        await wait_until(lambda: self.later() >= target, timeout, f"{count} callers to be told to come back later")

    async def until_accepted(self, count: int = 50, timeout: float = PATIENCE_S) -> None:
        """Wait until so many more calls were accepted."""
        target = self.accepted() + count
        await wait_until(lambda: self.accepted() >= target, timeout, f"{count} more calls to be accepted")

    async def bounded(self, seconds: float) -> float:
        """Let them call for so long, while nothing else happens; how much the control process has grown, in MB."""
        before = most = resident_mb(self.trial.node.pid)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            most = max(most, resident_mb(self.trial.node.pid))
        assert most - before < GROWTH_MB, f"the control process grew from {before:.0f} to {most:.0f} MB"
        return most - before

    def answered_well(self) -> None:
        """Every answer was an acceptance or a polite refusal, in time; no key stands for two jobs."""
        limit_s = ANSWER_S * max(1.0, self._slowest_pulse_s / PULSE_S)
        late = [f"{what} after {took:.1f} s, limit {limit_s:.1f} s" for took, what in self._slow if took > limit_s]
        assert not self.wrong + late, (self.wrong + late)[:5]
        with MongoClient[dict[str, Any]](self.trial.environment["MONGODB_URI"]) as client:
            jobs = client[self.trial.environment["MONGODB_DATABASE"]].jobs
            found = Counter(item["idempotency"]["key"] for item in jobs.find({"idempotency": {"$exists": True}}))
        assert {key: found[key] for key in self.keys} == dict.fromkeys(self.keys, 1)

    async def _single(self) -> None:
        while not self._over:
            reply = await self._call("/api/v1/jobs", self._job)
            if reply is not None:
                self.trial.acks.write(reply["id"])
            await asyncio.sleep(PAUSE_S)

    async def _batch(self) -> None:
        while not self._over:
            reply = await self._call("/api/v1/jobs/batch", self._jobs)
            if reply is not None:
                self.trial.acks.write(*reply["ids"])
            await asyncio.sleep(PAUSE_S)

    async def _keyed(self) -> None:
        while not self._over:
            key = f"key-{next(self._numbers)}"
            while (reply := await self._call("/api/v1/jobs", self._job, key)) is None:
                await asyncio.sleep(PAUSE_S)
            self.keys[key] = reply["id"]
            self.trial.acks.write(reply["id"])
            await asyncio.sleep(PAUSE_S)

    async def _pulse(self) -> None:
        """How fast the node answers what asks for no store: all that is slower is the machine's doing."""
        while not self._over:
            asked = time.monotonic()
            await self.trial.node.api.get("/livez", timeout=PATIENT_S)
            self._slowest_pulse_s = max(self._slowest_pulse_s, time.monotonic() - asked)
            await asyncio.sleep(0.1)

    async def _call(self, path: str, body: bytes, key: str | None = None) -> dict[str, Any] | None:
        """The answer of an acceptance, None for "later"; anything else is noted as wrong."""
        asked = time.monotonic()
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        try:
            reply = await self.trial.node.api.post(path, content=body, headers=headers, timeout=PATIENT_S)
        except httpx.TransportError as error:
            # The control process lives all the time: it owes an answer.
            self.wrong.append(f"{path}: {type(error).__name__} after {time.monotonic() - asked:.1f} s")
            return None
        took = time.monotonic() - asked
        if took > ANSWER_S:
            self._slow.append((took, f"{path}: {reply.status_code}"))
        answer: dict[str, Any] = reply.json()
        code = "" if reply.is_success else str(answer.get("code"))
        self.answers[reply.status_code, code] += 1
        if reply.status_code in (200, 201):
            return answer
        in_time = int(reply.headers.get("retry-after", "0")) >= 1
        polite = reply.status_code in (429, 503) and code in LATER
        if not (in_time and (polite or (key and code == "idempotency_key_in_flight"))):
            self.wrong.append(f"{path}: {reply.status_code} {reply.headers.get('retry-after')} {reply.text[:300]}")
        return None


async def through(
    trial: Trial,
    fault: Callable[[Callers], Awaitable[None]],
    *,
    callers: Callers | None = None,
    patience_s: float = PATIENCE_S,
) -> Callers:
    """The fault comes while callers call and jobs run; afterwards they are accepted again without a hand, and the judge
    finds nothing. `fault` returns when everything is in place again.
    """
    callers = callers or Callers(trial)
    await trial.node.start()
    async with trial.watching(), callers.calling():
        await callers.until_accepted(100)
        await trial.started(50)
        await fault(callers)
        await callers.until_accepted(100)
    verdict = await trial.clear_verdict(patience_s)
    assert verdict.completed == verdict.accepted > 0, verdict
    callers.answered_well()
    return callers
