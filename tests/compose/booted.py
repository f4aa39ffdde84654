"""A machine with a systemd of its own, to run the unit under: Debian booted in namespaces of its own.

`python -m tests.compose.booted` builds its Debian, once, where it can be booted. Everything that is installed on it
ends with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hegemon.cluster.parentage import tied_to_parent
from tests.compose import lab
from tests.compose.lab import HERE, LAB, SHARED, LabError
from tests.compose.machine import PATIENCE_S, first_process, stdout_of

PACKAGES: Final = ("ca-certificates", "dbus", "procps", "python3", "python3-venv", "systemd")
DEBIAN: Final = LAB / "service"


def obstacle() -> str:
    """Why nothing can be booted here, or ""."""
    if reason := lab.obstacle():
        return reason
    return "" if _hierarchy() is not None else "systemd needs cgroup2, which is not mounted here"


def build() -> None:
    """Make its Debian if it is not there yet. Raises LabError."""
    if (reason := obstacle()) != "":
        raise LabError(reason)
    with lab.held(patience=1800):
        lab.debian(DEBIAN, "service's Debian", PACKAGES)


def _hierarchy() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    return None


class Booted:
    """The machine while it runs. What is under `shared` is under /lab there; `shared`/repo is the repository."""

    def __init__(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="hegemon-booted-"))
        self.shared, state = self._place / "shared", self._place / "state"
        for directory in (self.shared, state):
            directory.mkdir()
        lab.copy_sources(self.shared / "repo", "scripts")
        shutil.copytree(SHARED / "wheels", self.shared / "wheels")
        hierarchy = _hierarchy()
        assert hierarchy is not None
        self._cgroup = hierarchy / self._place.name
        self._cgroup.mkdir()
        command = ["/bin/sh", str(HERE / "boot.sh"), str(self._cgroup), str(DEBIAN), str(self.shared), str(state)]
        # Whatever ends the tests ends the machine.
        self._outer = subprocess.Popen(tied_to_parent(command), stdin=subprocess.DEVNULL)
        self._pid = first_process(self._outer, "systemd", self._said)
        self._until_up()

    def _until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        # "degraded": what the kernel's modules and devices are for has nothing to do here.
        while self.run("systemctl", "is-system-running", check=False).strip() not in ("running", "degraded"):
            if time.monotonic() > deadline:
                raise LabError(f"the machine does not come up: {self._said()}")
            time.sleep(0.1)

    def _said(self) -> str:
        log = self.shared / "systemd.log"
        return log.read_text()[-3000:] if log.exists() else "nothing was said"

    def run(
        self, *command: str, check: bool = True, cwd: str = "/", environment: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """The command's stdout; with `check` an exit code that is not 0 is a LabError with all that it said."""
        given = [f"{name}={value}" for name, value in environment.items()]
        enter = ["nsenter", "--target", str(self._pid), "--mount", "--pid", "--cgroup", "--"]
        inside = ["env", "-i", f"--chdir={cwd}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *given, *command]
        return stdout_of([*enter, *inside], shown=command, check=check)

    def stop(self) -> None:
        """End all of it."""
        self._outer.kill()
        self._outer.wait()
        deadline = time.monotonic() + PATIENCE_S
        # The kernel takes its time to end a whole namespace.
        while self._cgroup.exists() and time.monotonic() < deadline:
            for directory, _, _ in os.walk(self._cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
            time.sleep(0.05)
        shutil.rmtree(self._place)


def main() -> None:
    """Build it. Where nothing can be booted that is said and no failure: its tests skip, and the others run."""
    if reason := obstacle():
        print(f"compose lab: nothing is booted: {reason}", file=sys.stderr)  # noqa: T201
        return
    try:
        build()
    except LabError as error:
        sys.exit(f"compose lab: {error}")


if __name__ == "__main__":
    main()
