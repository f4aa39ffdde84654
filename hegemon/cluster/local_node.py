"""One node of a local cluster as a child process: started, asked whether it is ready, stopped, its log read."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from hegemon.auth.roles import Role
from hegemon.cluster.local_plan import LocalError, NodePlan
from hegemon.cluster.parentage import tied_to_parent

_POLL_S: Final = 0.05
_FOLLOW_S: Final = 0.2
_PROBE_TIMEOUT_S: Final = 2.0
_PROBE_TTL: Final = timedelta(minutes=5)
_TAIL_LINES: Final = 30
_TAIL_BYTES: Final = 1 << 16
# What a node says for people when it gives up begins like this; all else in its log is for the record.
_OWN_WORDS: Final = ("hegemon node: ", "hegemon: ")


class NodeProcess:
    """A node's control process. It lives in a session of its own, which keeps the terminal's Ctrl-C away from it, and
    dies with this process. Its workers are in its process group."""

    def __init__(self, plan: NodePlan, log_path: Path) -> None:
        self.plan = plan
        self.log_path = log_path
        self.ready_s: float | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._group: int | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id of the node that was started last, None before the first."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives, as far as the event loop has seen."""
        return self._process is not None and self._process.returncode is None

    async def spawn(self, stores: Mapping[str, str]) -> None:
        """Start the process, with the stores' addresses in its environment. Needs a thread that outlives the node."""
        self.ready_s = None
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *tied_to_parent([sys.executable, "-P", "-m", "hegemon.cli", "node"]),
                env={**self.plan.environment, **stores},
                cwd=self.plan.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._group = self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait until the process has ended; its exit code, negative for a signal."""
        if self._process is None:
            raise LocalError(f"{self.plan.id} was not started")
        code = await self._process.wait()
        self._kill_group()  # what its handlers may have started and left behind
        return code

    def client(self, timeout_s: float = _PROBE_TIMEOUT_S) -> httpx.AsyncClient:
        """A client for this node and its like: no proxy stands between us and a child of ours. LocalError.

        A certificate is not checked: it names the host that others know, not the loopback address.
        """
        trust: ssl.SSLContext | bool = False
        own = self.plan.environment.get("HEGEMON_CLIENT_CERT")
        if own and self.plan.url.startswith("https:"):
            trust = ssl.create_default_context()
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            try:
                trust.load_cert_chain(own, password="")
            except OSError as error:
                raise LocalError(f"HEGEMON_CLIENT_CERT={own} cannot be used: {error.strerror or error}") from error
        return httpx.AsyncClient(trust_env=False, verify=trust, timeout=timeout_s)

    def headers(self, role: Role = Role.VIEWER) -> dict[str, str]:
        """What this node wants to see of a caller with that role, for the next few minutes; empty if it wants nothing.
        It is us who gave the node its key."""
        if self.plan.tokens is None:
            return {}
        token, _, _ = self.plan.tokens.issue("service:up", role, ttl=_PROBE_TTL)
        return {"authorization": f"Bearer {token}"}

    async def until_ready(self, patience: timedelta | None) -> bool:
        """True once GET /readyz says so, False if the process ended first. LocalError when the patience is at its
        end."""
        deadline = None if patience is None else time.monotonic() + patience.total_seconds()
        said = "it does not answer"
        async with self.client() as client:
            while self.running:
                try:
                    answer = await client.get(f"{self.plan.url}/readyz")
                    if answer.status_code == 200:
                        self.ready_s = time.monotonic()
                        return True
                    said = str(answer.json().get("detail") or f"HTTP {answer.status_code}")
                except (httpx.HTTPError, ValueError):
                    pass
                if patience is not None and deadline is not None and time.monotonic() > deadline:
                    seconds = patience.total_seconds()
                    raise LocalError(f"{self.plan.id} was not ready after {seconds:g} s: {said}{self._tail()}")
                await asyncio.sleep(_POLL_S)
        return False

    async def types(self) -> list[str] | None:
        """The job types that the cluster's workers handle, as this node knows them; None if it does not answer."""
        workers = await self._asked("workers", "workers")
        return None if workers is None else sorted({name for worker in workers for name in worker["types"]})

    async def leader(self) -> str | None:
        """Who leads, as this node knows it; None if nobody, or if it does not answer."""
        leader = await self._asked("leader", "leader_id")
        return str(leader) if leader else None

    async def _asked(self, path: str, name: str) -> Any:
        """A field of an answer; None if there is none."""
        try:
            async with self.client() as client:
                answer = await client.get(f"{self.plan.url}/api/v1/{path}", headers=self.headers())
                return answer.json()[name]
        except (httpx.HTTPError, ValueError, KeyError):
            return None

    async def stop(self, within: timedelta) -> None:
        """Let the node drain; kill what is left of it after that time, or when this call is cancelled."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.terminate()
        try:
            async with asyncio.timeout(within.total_seconds()):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            self._kill_group()
            await process.wait()

    def _kill_group(self) -> None:
        """Once a process: its number may be given away again when the group is empty."""
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = None

    def last_words(self, code: int) -> str:
        """Why it ended: its own words if it left any, else the code and the end of its log."""
        lines = self._log_lines()
        for index in range(len(lines) - 1, -1, -1):
            for opening in _OWN_WORDS:
                if lines[index].startswith(opening):
                    # A sentence may have a list below it; what else follows is not for people.
                    below = itertools.takewhile(lambda line: line.startswith(" "), lines[index + 1 :])
                    return "\n".join([lines[index].removeprefix(opening), *below])
        return f"it {how_ended(code)}{self._tail()}"

    def _tail(self) -> str:
        lines = self._log_lines()[-_TAIL_LINES:]
        if not lines:
            return f"; {self.log_path} says nothing"
        return f"; the end of {self.log_path}:\n" + "\n".join(f"  {line}" for line in lines)

    def _log_lines(self) -> list[str]:
        """The last lines that the present process logged."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return []

    async def follow(self, show: Callable[[str], None]) -> None:
        """Show each line that is logged from now on, until cancelled. The log is a file, so that a terminal that is
        held up holds up nobody but us."""
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        rest = b""
        ending = False
        while not ending:
            try:
                await asyncio.sleep(_FOLLOW_S)
            except asyncio.CancelledError:
                ending = True
            with contextlib.suppress(OSError), self.log_path.open("rb") as log:
                log.seek(offset)
                chunk = log.read()
                offset += len(chunk)
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    show(line.decode(errors="replace"))


def how_ended(code: int) -> str:
    """An exit code as the end of a sentence: "exited with code 1", "was ended by SIGKILL"."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
