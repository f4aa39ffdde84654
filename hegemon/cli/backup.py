"""`hegemon backup` and `hegemon restore`: the cluster's MongoDB in one file, and back. They speak to the stores, as a
node does, and not to a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.output import emit_line, note
from hegemon.cluster import backup as archive
from hegemon.cluster.node_stores import NodeStores
from hegemon.cluster.settings import SettingsError, load
from hegemon.measures import Meters
from hegemon.queue.errors import StoreUnavailable, WrongStore

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(file: File) -> None:
    """Write all that a cluster keeps into a new FILE, as of one moment; the cluster goes on meanwhile.

    It is set up as a node is, by environment and .env: MONGODB_URI, MONGODB_DATABASE, CLUSTER_ID. The file holds
    password hashes and payloads: keep it as safe as the database, and the keys (PAYLOAD_ENCRYPTION_KEYS) elsewhere.
    """

    async def work(stores: NodeStores, cluster_id: str) -> None:
        count = await archive.back_up(stores.database, cluster_id, file, _told)
        emit_line(f"{file}: {count:,} documents of cluster {cluster_id}, {file.stat().st_size:,} bytes")

    _run(work)


def restore(file: File) -> None:
    """Fill an empty database from FILE. No node may run; start them afterwards, and they build the index in Redis anew.

    It is set up as a node is, by environment and .env: MONGODB_URI, MONGODB_DATABASE, REDIS_URL, CLUSTER_ID. The
    cluster's keys in Redis are removed.
    """

    async def work(stores: NodeStores, cluster_id: str) -> None:
        head = archive.check(file, cluster_id)
        note(f"{file} is whole: cluster {cluster_id} as of {head['at']:%Y-%m-%d %H:%M:%S} UTC, by {head['version']}.")
        count = await archive.restore(stores.database, stores.rebuild_redis, file, _told)
        emit_line(f"{count:,} documents restored; the nodes can be started")

    _run(work)


def _told(name: str, count: int) -> None:
    note(f"{name}: {count:,}")


def _run(work: Callable[[NodeStores, str], Awaitable[None]]) -> None:
    async def with_stores() -> None:
        settings = load()
        stores = NodeStores(settings, Meters())
        try:
            await work(stores, settings.cluster.cluster_id)
        finally:
            await stores.close()

    try:
        asyncio.run(with_stores())
    except (SettingsError, WrongStore, archive.BackupError) as error:
        raise usage(f"{str(error).rstrip('.')}.") from error
    except StoreUnavailable as error:
        raise Stop(ExitCode.UNAVAILABLE, f"{error}.") from error
    except OSError as error:
        # A write to a disk that is full names no file.
        raise usage(f"{error.filename or 'FILE'}: {error.strerror}.") from error
