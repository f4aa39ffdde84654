"""The machine that a container engine runs on: a Debian of its own, with mounts and processes of its own.

`python -m tests.compose.machine` builds it, once, where packages can be had: Debians by debootstrap, one for the
engines, one that the stand-in images are made of, and the locked wheels. After that nothing needs a network. The
machine itself runs in the network of the test process, which is one of its own (tests/own_network.py), so that the
published ports are reached on loopback and are in nobody's way.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hegemon.cluster.parentage import tied_to_parent
from hegemon.cluster.server_binaries import find_mongod

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
# Beside what ./dev installs, and out of git's sight as that is. COMPOSE_LAB puts it elsewhere.
LAB: Final = Path(os.environ.get("COMPOSE_LAB") or ROOT / ".venv" / "compose-lab")
SUITE: Final = "trixie"
PYTHON: Final = "3.13"
# fmt: off
ENGINE_PACKAGES: Final = (
    "aardvark-dns", "ca-certificates", "docker-buildx", "docker-cli", "docker-compose", "docker.io", "iproute2",
    "iptables", "netavark", "nftables", "podman", "podman-compose", "procps", "runc", "tini",
)
IMAGE_PACKAGES: Final = (
    "ca-certificates", "libcurl4t64", "procps", "prometheus", "python3", "python3-pymongo", "python3-venv",
    "python3-yaml", "valkey-server", "wget",
)
# fmt: on
PATIENCE_S: Final = 900.0
_PLATFORMS: Final = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


class LabError(Exception):
    """The lab cannot be had; the message says why and what to do."""


def obstacle() -> str:
    """Why there can be no lab here, or ""."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the container lab is made of Debian for x86-64"
    if os.geteuid() != 0:
        return "engines of one's own need root"
    missing = [tool for tool in ("unshare", "nsenter", "pivot_root", "mount") if shutil.which(tool) is None]
    return f"{', '.join(missing)} not found" if missing else ""


def build() -> None:
    """Make what is not there yet. Raises LabError."""
    if (reason := obstacle()) != "":
        raise LabError(reason)
    shared = LAB / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    _once(shared / "debian.tar", "stand-ins' Debian", " ".join(IMAGE_PACKAGES), _image_debian)
    _once(LAB / "engine", "engines' Debian", " ".join(ENGINE_PACKAGES), _engine_debian)
    locks = [ROOT / "compose" / name for name in ("requirements.lock", "build.lock")]
    _once(shared / "wheels", "wheels", "".join(lock.read_text() for lock in locks), lambda place: _wheels(place, locks))


def _once(place: Path, what: str, content: str, make: Callable[[Path], None]) -> None:
    stamp = LAB / f"{place.name}.stamp"
    wanted = f"{SUITE} {PYTHON} {content}"
    if place.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"compose lab: {what} ({place})", flush=True)  # noqa: T201 - ./dev shows it to whoever waits
    made = place.with_name(f"{place.name}.new")
    for old in (made, place):
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    make(made)
    made.rename(place)
    stamp.write_text(wanted)


def _image_debian(place: Path) -> None:
    root = place.with_name("debian.root")
    shutil.rmtree(root, ignore_errors=True)
    _debootstrap(root, IMAGE_PACKAGES)
    _run(["tar", "-C", str(root), "-c", "-f", str(place), "."])
    shutil.rmtree(root)


def _engine_debian(place: Path) -> None:
    _debootstrap(place, ENGINE_PACKAGES)


def _debootstrap(place: Path, packages: Sequence[str]) -> None:
    _run(["debootstrap", "--variant=minbase", SUITE, str(place), _mirror()])
    # debootstrap knows no virtual packages; apt does.
    shutil.copy("/etc/resolv.conf", place / "etc" / "resolv.conf")
    apt = ["chroot", str(place), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    _run([*apt, "update"])
    _run([*apt, "install", "-y", "--no-install-recommends", *packages])
    _run([*apt, "clean"])


def _mirror() -> str:
    """Where this machine's apt has its packages from."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        if source.suffix in {".list", ".sources"} and source.is_file():
            for line in source.read_text().splitlines():
                found = re.match(r"(?:URIs:|deb(?: \[.*\])?)\s+(https?://\S+)", line)
                if found and "security" not in found[1]:
                    return found[1]
    raise LabError("apt of this machine names no Debian mirror that debootstrap could use")


def _wheels(place: Path, locks: Sequence[Path]) -> None:
    tag = PYTHON.replace(".", "")
    platforms = [f"--platform={name}_x86_64" for name in _PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--prefer-binary"]
    command += [f"--python-version={PYTHON}", "--implementation=cp", f"--abi=cp{tag}", "--abi=abi3", "--abi=none"]
    _run([*command, *platforms, f"--dest={place}", *(f"--requirement={lock}" for lock in locks)])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command[:4])} … failed:\n{(done.stdout + done.stderr)[-3000:]}")


def lay_out() -> Path:
    """A fresh copy of what an engine needs: the repository as git would have it, and the stand-ins. Its compose/."""
    shared = LAB / "shared"
    for name in ("repo", "standins"):
        shutil.rmtree(shared / name, ignore_errors=True)
    shutil.copytree(HERE / "standins", shared / "standins")
    shutil.copy(find_mongod(), shared / "standins" / "mongo" / "mongod")
    leave_out = shutil.ignore_patterns("__pycache__", ".env", "node.env", "secrets")
    for name in ("compose", "hegemon", "examples"):
        shutil.copytree(ROOT / name, shared / "repo" / name, ignore=leave_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(ROOT / name, shared / "repo" / name)
    return shared / "repo" / "compose"


class Machine:
    """A running machine: `run` runs a command in it. What is under LAB/shared is under /lab there."""

    def __init__(self, script: str, environment: dict[str, str]) -> None:
        """`script` is what runs on it; /lab/engine.log has its output."""
        self.environment = dict(environment)
        shared = LAB / "shared"
        (shared / "engine.sh").write_text(f"exec >/lab/engine.log 2>&1\n{script}\n")
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
        command += [str(LAB / "engine"), str(shared), "env", *given, "sh", "/lab/engine.sh"]
        # Whatever ends the tests ends the machine.
        self._outer = subprocess.Popen(tied_to_parent(command), stdin=subprocess.DEVNULL)
        self._pid = self._first_process()

    def _first_process(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        while time.monotonic() < deadline and self._outer.poll() is None:
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() == "tini":
                    return int(pid)
            time.sleep(0.05)
        raise LabError(f"the machine did not start; see {LAB / 'shared' / 'engine.log'}")

    def entered(self, *command: str) -> list[str]:
        """The command line that runs this command in the machine, for who stands outside."""
        given = [f"{name}={value}" for name, value in self.environment.items()]
        return ["nsenter", "--target", str(self._pid), "--mount", "--pid", "--", "env", *given, *command]

    def run(self, *command: str, check: bool = True, timeout: float = PATIENCE_S) -> str:
        """The command's stdout; with `check` an exit code that is not 0 is a LabError with all that it said."""
        done = subprocess.run(
            self.entered(*command),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def stop(self) -> None:
        """End the engine in order; then whatever is left, with the machine's first process."""
        os.kill(self._pid, signal.SIGTERM)
        try:
            self._outer.wait(60)
        except subprocess.TimeoutExpired:
            self._outer.kill()
            self._outer.wait(60)


if __name__ == "__main__":
    try:
        build()
    except LabError as error:
        sys.exit(f"compose lab: {error}")
