"""The same backlog worked off by Hegemon and by its peers, in turns, on the same Valkey with its append-only file.

Peers are favoured where the two cannot be equal: their results need not be durable on disk and their clock starts with
the first jobs done, so that neither a worker's start nor its imports count; the best setting of a
sweep stands for each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.cluster import Stores
from benchmarks.drain import JOBS, NOOP, drain_once, said
from benchmarks.figures import Figure, Findings, at_least
from benchmarks.peer_list import PEERS, Peer, Setting
from benchmarks.plan import Plan
from hegemon.cluster.parentage import tied_to_parent

APPS = Path(__file__).resolve().parent / "peer_apps"
PEER_JOBS = 20_000
STALLED_S = 60.0
POLL_S = 0.005


class PeerRun(msgspec.Struct, frozen=True):
    """One backlog of one peer."""

    peer: str
    setting: str
    rate: float
    jobs: int


class PeerFailed(Exception):
    """A peer did not install, start or finish; the message has its last words."""


def environment(peer: Peer, cache: Path) -> Path:
    """The peer's virtual environment, made when it is missing; its `bin` directory."""
    home = cache / "peers" / peer.name
    binaries = home / "bin"
    stamp = home / "bench.stamp"
    wanted = "\n".join(peer.packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        base = [sys.executable, "-m", "venv", str(home)]
        pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (base, [*pip, *peer.packages]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise PeerFailed(f"{peer.name} cannot be installed:\n{done.stderr[-1500:]}")
        stamp.write_text(wanted)
    return binaries


async def _ended(stores: Stores, peer: Peer, total: int) -> int:
    """How many of the peer's jobs have a result."""
    how, where = peer.results
    if how == "keys":
        # What INFO says of a database that holds nothing but results; DBSIZE would need a connection to each.
        space = await stores.redis.info("keyspace")
        return int(space.get(f"db{where}", {}).get("keys", 0))
    members = int(await stores.redis.zcard(where))
    return members if how == "in" else total - members


async def run_peer(stores: Stores, binaries: Path, peer: Peer, setting: Setting, jobs: int) -> PeerRun:
    """Enqueue, start the workers, time from the first results seen to the last."""
    address = stores.embedded_redis.url.rpartition("/")[0]
    env = {**os.environ, "REDIS": address, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", **setting.environment}
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        env.pop(name, None)
    await stores.redis.flushall()
    enqueued = await asyncio.create_subprocess_exec(str(binaries / "python"), peer.file, str(jobs), cwd=APPS, env=env)
    if await enqueued.wait():
        raise PeerFailed(f"{peer.name} could not enqueue")
    log = stores.directory / f"{peer.name}.log"
    worker = _spawn([str(binaries / setting.command[0]), *setting.command[1:]], env, log)
    try:
        rate = await _timed(stores, peer, jobs, worker, log)
    finally:
        await _end(worker)
        await stores.redis.flushall()
    return PeerRun(peer.name, setting.label, rate, jobs)


def _spawn(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            tied_to_parent(command), cwd=APPS, env=env, stdout=out, stderr=out, start_new_session=True
        )


async def _timed(stores: Stores, peer: Peer, jobs: int, worker: subprocess.Popen[bytes], log: Path) -> float:
    first: tuple[float, int] | None = None
    seen, moved = 0, time.monotonic()
    while True:
        done, now = await _ended(stores, peer, jobs), time.monotonic()
        if done > seen:
            seen, moved = done, now
            first = first or (now, done)
        if done >= jobs and first is not None:
            return (done - first[1]) / (now - first[0])
        if worker.poll() is not None or now - moved > STALLED_S:
            raise PeerFailed(f"{peer.name} stopped at {done} of {jobs}:\n{_end_of(log)}")
        await asyncio.sleep(POLL_S)


def _end_of(log: Path) -> str:
    return log.read_text()[-1500:]


async def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the group, which the worker leads: pools have processes of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(worker.pid, number)
        except ProcessLookupError:
            break
        for _ in range(60):
            if worker.poll() is not None:
                break
            await asyncio.sleep(0.05)
    await asyncio.to_thread(worker.wait)


async def _sweep(plan: Plan, peer: Peer, jobs: int) -> tuple[Path, Setting, list[PeerRun]] | None:
    try:
        binaries = await asyncio.to_thread(environment, peer, plan.cache)
        runs = [await run_peer(plan.stores, binaries, peer, setting, jobs) for setting in peer.settings]
    except PeerFailed as error:
        plan.say(f"{peer.name} is left out: {error}")
        return None
    best = max(range(len(runs)), key=lambda i: runs[i].rate)
    plan.say(f"{peer.name}: " + ", ".join(f"{run.setting}: {run.rate:,.0f}/s" for run in runs))
    return binaries, peer.settings[best], runs


async def peers(plan: Plan) -> Findings:
    """Sweep each peer, then rounds of everybody with its best setting."""
    jobs = plan.size(PEER_JOBS, 2_000)
    chosen: list[tuple[Peer, Path, Setting]] = []
    swept: list[PeerRun] = []
    for peer in PEERS:
        found = await _sweep(plan, peer, max(jobs // 4, 2_000))
        if found is not None:
            chosen.append((peer, *found[:2]))
            swept += found[2]
    own: list[float] = []
    theirs: dict[str, list[float]] = {peer.name: [] for peer, _, _ in chosen}
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            own.append((drained := await drain_once(node, [NOOP] * plan.size(JOBS))).rate)
        plan.say(f"round {number + 1}: hegemon {said(drained)}")
        for peer, binaries, setting in chosen:
            theirs[peer.name].append((await run_peer(plan.stores, binaries, peer, setting, jobs)).rate)
        plan.say(f"round {number + 1}: " + ", ".join(f"{name} {rates[-1]:,.0f}/s" for name, rates in theirs.items()))
    figures = [Figure("hegemon: every state durable in MongoDB", "jobs/s", own)]
    ratios = []
    for peer, _, setting in sorted(chosen, key=lambda item: -statistics.median(theirs[item[0].name])):
        figures.append(Figure(f"{peer.name} ({setting.label})", "jobs/s", theirs[peer.name]))
        quotients = [a / b for a, b in zip(own, theirs[peer.name], strict=True)]
        ratios.append(Figure(f"hegemon over {peer.name}", "ratio", quotients, at_least(5) if peer.record else None))
    return Findings(figures + ratios, {"sweep": swept, "jobs": {"hegemon": plan.size(JOBS), "peers": jobs}})
