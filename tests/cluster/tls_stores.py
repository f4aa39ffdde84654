"""Redis and MongoDB as they stand on a network: TLS alone, certificates of clients asked for, passwords."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from hegemon.cluster.embedded import REPLICA_SET, EmbeddedMongo
from hegemon.cluster.parentage import tied_to_parent
from hegemon.cluster.server_binaries import find_redis_server
from tests.certificates import Authority, Files
from tests.nodes import free_port
from tests.waiting import PATIENCE, wait_until

PASSWORD = "p@ss/w:rd?&"
ESCAPED = "p%40ss%2Fw%3Ard%3F%26"
_ALREADY = 23


@asynccontextmanager
async def tls_redis(directory: Path, authority: Authority) -> AsyncIterator[int]:
    """The port of a Redis that asks for TLS, a client's certificate and PASSWORD.

    By the first server on this machine that was built with TLS; where there is none, a real one stands behind a
    terminator of ours.
    """
    files = authority.write("redis")
    port = free_port()
    tls = [
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "yes"),
        *("--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)),
        *("--tls-ca-cert-file", str(authority.certificate)),
    ]
    for name in ("redis-server", "valkey-server"):
        if (binary := shutil.which(name)) and (process := await _started(directory, Path(binary), port, tls)):
            try:
                yield port
            finally:
                await _end(process)
            return
    behind = free_port()
    process = await _started(directory, find_redis_server(), behind, ["--port", str(behind)])
    assert process is not None, (directory / "log").read_text()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        async with _terminating(port, behind, context):
            yield port
    finally:
        await _end(process)


async def _started(directory: Path, binary: Path, port: int, arguments: list[str]) -> asyncio.subprocess.Process | None:
    """The server once it listens; None if it ends instead, as one without TLS does."""
    with (directory / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *tied_to_parent([str(binary), *arguments]),
            *("--bind", "127.0.0.1", "--dir", str(directory), "--save", "", "--requirepass", PASSWORD),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", ""),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    async def settled() -> bool:
        if process.returncode is not None:
            return True
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await wait_until(settled, message="the server to listen or to end")
    return process if process.returncode is None else None


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@asynccontextmanager
async def _terminating(port: int, behind: int, context: ssl.SSLContext) -> AsyncIterator[None]:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()


class TlsMongo(EmbeddedMongo):
    """A mongod that speaks TLS alone, asks for a client's certificate, and lets in the user `hegemon` with PASSWORD."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        super().__init__(directory, port=free_port(), start_timeout=PATIENCE)
        self._authority = authority
        self._files = authority.write("mongod")
        self._client: Files = authority.write("mongo-admin")

    @property
    def uri(self) -> str:
        """The address with user and password, without the files of TLS."""
        return (
            f"mongodb://hegemon:{ESCAPED}@127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}&directConnection=true"
            "&authSource=admin"
        )

    def _arguments(self) -> list[str]:
        key = self.data_dir / "members.key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(base64.b64encode(os.urandom(96)))
        return [
            *super()._arguments(),
            *("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(self._files.both)),
            *("--tlsCAFile", str(self._authority.certificate), "--auth", "--keyFile", str(key)),
        ]

    async def _until_ready(self) -> None:
        await wait_until(lambda: asyncio.to_thread(self._prepared), message="mongod to let the user in")

    def _prepared(self) -> bool:
        tls: dict[str, Any] = {
            "tls": True,
            "tlsCAFile": str(self._authority.certificate),
            "tlsCertificateKeyFile": str(self._client.both),
            "directConnection": True,
            "serverSelectionTimeoutMS": 500,
        }
        try:
            with MongoClient[dict[str, Any]]("127.0.0.1", self.port, **tls) as client:
                if not client.admin.command("hello").get("isWritablePrimary"):
                    member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
                    return False
                client.admin.command("createUser", "hegemon", pwd=PASSWORD, roles=["root"])
                return True
        except OperationFailure as error:
            if error.code != _ALREADY:
                self._obstacle = error
        except PyMongoError as error:
            self._obstacle = error
        return False
