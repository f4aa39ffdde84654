"""The peers: what to install, how their workers are started, which settings are swept, and where their results lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True)
class Setting:
    """One point of a sweep."""

    label: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """`results` says how ended jobs are counted in the store: all keys of database 1, the members of a sorted set, or
    those that have left one. `record` says whether a record of each job, and not only a result, is kept.
    """

    name: str
    packages: tuple[str, ...]
    results: tuple[Literal["keys", "in", "left"], str]
    settings: tuple[Setting, ...]
    record: bool = False

    @property
    def file(self) -> str:
        """The application's file."""
        return f"{self.name}_app.py"


def _celery(label: str, *arguments: str) -> Setting:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
    return Setting(label, ("celery", "-A", "celery_app", "worker", *quiet, *arguments))


def _dramatiq(processes: int, threads: int) -> Setting:
    command = ("dramatiq", "dramatiq_app", "-p", str(processes), "-t", str(threads))
    return Setting(f"{processes} x {threads} threads", command)


def _taskiq(workers: int, tasks: int, broker: str) -> Setting:
    size = ("--workers", str(workers), "--max-async-tasks", str(tasks), "--max-prefetch", str(tasks))
    command = ("taskiq", "worker", "taskiq_app:broker", "--log-level", "WARNING", *size)
    return Setting(f"{workers} x {tasks}, {broker}", command, {"BROKER": broker})


def _swept(command: tuple[str, ...], *concurrency: int) -> tuple[Setting, ...]:
    return tuple(Setting(str(n), command, {"CONCURRENCY": str(n)}) for n in concurrency)


def _saq(workers: int, concurrency: int) -> Setting:
    command = ("saq", "saq_app.settings", "--quiet", "--workers", str(workers))
    return Setting(f"{workers} x {concurrency}", command, {"CONCURRENCY": str(concurrency)})


def _streaq(workers: int, concurrency: int) -> Setting:
    command = ("streaq", "run", "streaq_app:worker", "--workers", str(workers))
    return Setting(f"{workers} x {concurrency}", command, {"CONCURRENCY": str(concurrency)})


PEERS: Final = (
    Peer(
        "celery",
        ("celery[redis]==5.7.0", "hiredis"),
        ("keys", "1"),
        (
            _celery("prefork 1", "-c", "1"),
            _celery("prefork 2", "-c", "2"),
            _celery("threads 10", "-P", "threads", "-c", "10"),
        ),
    ),
    Peer(
        "dramatiq",
        ("dramatiq[redis]==2.2.1", "hiredis"),
        ("keys", "1"),
        (_dramatiq(1, 8), _dramatiq(2, 8), _dramatiq(2, 2)),
    ),
    Peer(
        "arq",
        ("arq==0.28.0", "hiredis", "uvloop"),
        ("left", "arq:queue"),
        _swept(("arq", "arq_app.WorkerSettings"), 10, 50, 200),
    ),
    Peer(
        "taskiq",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis", "uvloop"),
        ("keys", "1"),
        (_taskiq(1, 100, "list"), _taskiq(2, 100, "list"), _taskiq(2, 100, "stream")),
    ),
    Peer(
        "saq",
        ("saq[hiredis]==0.26.4", "uvloop", "typing-extensions"),
        ("left", "saq:default:incomplete"),
        (_saq(1, 10), _saq(1, 100), _saq(2, 50)),
        record=True,
    ),
    Peer(
        "streaq",
        ("streaq==7.2.0", "hiredis", "uvloop"),
        ("in", "streaq:default:index:results"),
        (_streaq(1, 16), _streaq(1, 100), _streaq(2, 100)),
    ),
)
