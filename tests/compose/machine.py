"""The machine that a container engine runs on: a Debian of its own (lab.py), with mounts and processes of its own.

It runs in the network of the test process, which is one of its own (tests/own_network.py), so that the published ports
are reached on loopback and are in nobody's way; and it ends with that process, whatever ends it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hegemon.cluster.parentage import tied_to_parent
from tests.compose.lab import HERE, SHARED, LabError

# The longest for one command on a machine that computes on all cores. Less than the 10 minutes after which pytest ends
# a test's whole process (faulthandler_timeout).
PATIENCE_S: Final = 540.0
# None of the caller's, whose proxies, indexes and directories for temporary files are not the machine's.
_ENVIRONMENT: Final = ("env", "-i", "HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")


def first_process(outer: subprocess.Popen[bytes], name: str, said: Callable[[], str]) -> int:
    """The child of `outer` with this name, waited for. LabError with what was `said` if there will be none."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and outer.poll() is None:
        # Either may end while it is looked at.
        with suppress(OSError):
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    return int(pid)
        time.sleep(0.05)
    raise LabError(f"{name} did not start: {said()}")


def stdout_of(command: Sequence[str], *, shown: Sequence[str], check: bool, timeout: float = PATIENCE_S) -> str:
    """Run it to its end. With `check` an exit code that is not 0 is a LabError with all that it said, as of `shown`."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
    )
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(shown)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


class Machine:
    """A running machine: `run` runs a command in it. What is under SHARED is under /lab there."""

    def __init__(self, root: Path, script: str, environment: dict[str, str]) -> None:
        """`root` is its Debian; `script` is what runs on it; /lab/engine.log has its output."""
        self.environment = dict(environment)
        (SHARED / "engine.sh").write_text(f"exec >/lab/engine.log 2>&1\n{script}\n")
        given = [f"{name}={value}" for name, value in environment.items()]
        command = [
            shutil.which("unshare") or "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            str(HERE / "enter.sh"),
        ]
        command += [str(root), str(SHARED), *_ENVIRONMENT, *given, "sh", "/lab/engine.sh"]
        # Whatever ends the tests ends the machine.
        self._outer = subprocess.Popen(tied_to_parent(command), stdin=subprocess.DEVNULL)
        self._pid = first_process(self._outer, "tini", lambda: f"see {SHARED / 'engine.log'}")

    def entered(self, *command: str) -> list[str]:
        """The command line that runs this command in the machine, for who stands outside."""
        given = [f"{name}={value}" for name, value in self.environment.items()]
        return ["nsenter", "--target", str(self._pid), "--mount", "--pid", "--", *_ENVIRONMENT, *given, *command]

    def run(self, *command: str, check: bool = True, timeout: float = PATIENCE_S) -> str:
        """The command's stdout; with `check` an exit code that is not 0 is a LabError with all that it said."""
        return stdout_of(self.entered(*command), shown=command, check=check, timeout=timeout)

    def stop(self) -> None:
        """End the engine in order; then whatever is left, with the machine's first process."""
        os.kill(self._pid, signal.SIGTERM)
        try:
            self._outer.wait(60)
        except subprocess.TimeoutExpired:
            self._outer.kill()
            self._outer.wait(60)
