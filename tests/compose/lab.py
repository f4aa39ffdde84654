"""What the container lab is made of, and where it is kept: built once for each user, not for each clone.

`python -m tests.compose.lab [ENGINE...]` builds what is not there yet, where packages can be had: one Debian by
debootstrap, and of it one for each engine and one that the stand-in images are made of; and the locked wheels. After
that nothing needs a network. One run at a time has the lab, by a lock; the others wait, and say so.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from hegemon.cluster.parentage import tied_to_parent
from hegemon.cluster.server_binaries import find_mongod

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hegemon"
LAB: Final = Path(os.environ.get("COMPOSE_LAB") or _CACHE / "compose-lab").resolve()
SHARED: Final = LAB / "shared"
SUITE: Final = "trixie"
PYTHON: Final = "3.13"
# fmt: off
ENGINE_PACKAGES: Final = {
    "docker": (
        "ca-certificates", "docker-buildx", "docker-cli", "docker-compose", "docker.io", "iproute2", "iptables",
        "nftables", "procps", "runc", "tini",
    ),
    "podman": (
        "aardvark-dns", "ca-certificates", "iproute2", "iptables", "netavark", "nftables", "podman", "podman-compose",
        "procps", "runc", "tini",
    ),
}
IMAGE_PACKAGES: Final = (
    "ca-certificates", "libcurl4t64", "procps", "prometheus", "python3", "python3-pymongo", "python3-venv",
    "python3-yaml", "valkey-server", "wget",
)
# fmt: on
# Exit code of a build that could not be had, as when no mirror answers; what is wrong with the code ends with 1.
UNAVAILABLE: Final = 69
# The lab is thrown away sooner than repaired, and nobody reads a manual in it.
_DPKG: Final = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
"""
_APT: Final = 'Acquire::Retries "3";\nAcquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n'
_PLATFORMS: Final = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


class LabError(Exception):
    """The lab cannot be had; the message says why and what to do."""


def obstacle() -> str:
    """Why there can be no lab here and what to do, or ""."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the container lab is made of Debian for x86-64: run it on such a Linux"
    if os.geteuid() != 0:
        return "the container lab needs root, for engines of its own: run it as root, or in a container that may mount"
    missing = [tool for tool in ("unshare", "nsenter", "pivot_root", "mount") if shutil.which(tool) is None]
    return f"the container lab needs {', '.join(missing)}: install util-linux" if missing else ""


@contextmanager
def held(patience: float) -> Iterator[None]:
    """Have the lab for oneself. Raises LabError after `patience` seconds in which another process had it."""
    try:
        SHARED.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"the container lab cannot be kept there: {error}; COMPOSE_LAB names another directory"
        ) from None
    with (LAB / "lock").open("a+") as lock:
        deadline = time.monotonic() + patience
        while not _locked(lock.fileno()):
            if time.monotonic() > deadline:
                lock.seek(0)
                raise LabError(
                    f"process {lock.read().strip() or 'unknown'} has had the container lab {LAB} for {patience:g} s: "
                    "try again when it has ended, or set COMPOSE_LAB to a directory for another lab"
                )
            time.sleep(0.2)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build(engines: Sequence[str]) -> None:
    """Make what is not there yet for these engines; by who holds the lab. Raises LabError."""
    of_engines = {name: ENGINE_PACKAGES[name] for name in engines}
    if (reason := obstacle()) != "":
        raise LabError(reason)
    scratch = LAB / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    _try_layers(scratch)
    for name, packages in of_engines.items():
        debian(LAB / name, f"{name}'s Debian", packages)
    _once(SHARED / "debian.tar", "stand-ins' Debian", " ".join(IMAGE_PACKAGES), _image)
    locks = [ROOT / "compose" / name for name in ("requirements.lock", "build.lock")]
    _once(SHARED / "wheels", "wheels", "".join(lock.read_text() for lock in locks), partial(_wheels, locks))


def debian(place: Path, what: str, packages: Sequence[str]) -> None:
    """A Debian at `place` with these packages, if it is not there yet; by who holds the lab. Raises LabError."""
    _once(LAB / "base", "a Debian", _DPKG + _APT, _debian)
    _once(place, what, " ".join(packages), partial(_with, packages))


def _try_layers(scratch: Path) -> None:
    layers = (
        'cd "$1" && mkdir lower upper work all && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work x all'
    )
    try:
        _run(["sh", "-c", layers, "sh", str(scratch)])
    except LabError as error:
        raise LabError(
            f"engines cannot mount the layers of images in {LAB}: set COMPOSE_LAB to a directory of a file system of a "
            f"disk, such as a volume, where mounting is allowed ({error})"
        ) from None


def _once(place: Path, what: str, content: str, make: Callable[[Path], None]) -> None:
    stamp = LAB / f"{place.name}.stamp"
    wanted = f"{SUITE} {PYTHON} {content}"
    if place.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    began = time.monotonic()
    made = place.with_name(f"{place.name}.new")
    for old in (made, place):
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    make(made)
    made.rename(place)
    stamp.write_text(wanted)
    print(f"compose lab: {what} in {time.monotonic() - began:.0f} s ({place})", flush=True)  # noqa: T201 - who waits sees it


def _debian(place: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise LabError("the container lab needs debootstrap: install it (Debian, Ubuntu: apt-get install debootstrap)")
    _run(["debootstrap", "--variant=minbase", SUITE, str(place), _mirror()])
    (place / "etc" / "dpkg" / "dpkg.cfg.d" / "lab").write_text(_DPKG)
    (place / "etc" / "apt" / "apt.conf.d" / "lab").write_text(_APT)
    shutil.copy("/etc/resolv.conf", place / "etc" / "resolv.conf")


def _with(packages: Sequence[str], place: Path) -> None:
    """A copy of the Debian that all are made of, with more packages."""
    _run(["cp", "--archive", "--reflink=auto", str(LAB / "base"), str(place)])
    # debootstrap knows no virtual packages; apt does. A mirror drops old versions, so its lists must be today's.
    apt = ["chroot", str(place), "env", "--unset=TMPDIR", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    _run([*apt, "update"])
    _run([*apt, "install", "-y", "--no-install-recommends", *packages])
    _run([*apt, "clean"])


def _image(place: Path) -> None:
    root = place.with_name("debian.root")
    shutil.rmtree(root, ignore_errors=True)
    _with(IMAGE_PACKAGES, root)
    _run(["tar", "-C", str(root), "--exclude=./var/lib/apt/lists/*", "-c", "-f", str(place), "."])
    shutil.rmtree(root)


def _mirror() -> str:
    """Where this machine's apt has its packages from; LabError if it names no Debian."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        if source.suffix in {".list", ".sources"} and source.is_file():
            for line in source.read_text().splitlines():
                found = re.match(r"(?:URIs:|deb(?: \[.*\])?)\s+(https?://\S+/debian/?)(?:\s|$)", line)
                if found:
                    return found[1]
    raise LabError("apt of this machine names no Debian mirror that debootstrap could use")


def _wheels(locks: Sequence[Path], place: Path) -> None:
    tag = PYTHON.replace(".", "")
    platforms = [f"--platform={name}_x86_64" for name in _PLATFORMS]
    command = ["env", f"TMPDIR={LAB / 'tmp'}", sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--prefer-binary"]
    command += [f"--python-version={PYTHON}", "--implementation=cp", f"--abi=cp{tag}", "--abi=abi3", "--abi=none"]
    _run([*command, *platforms, f"--dest={place}", *(f"--requirement={lock}" for lock in locks)])


def _run(command: Sequence[str]) -> None:
    """In mounts and processes of its own, so that nothing of it is left, whatever ends this process."""
    unshare = [shutil.which("unshare") or "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    whole = tied_to_parent([*unshare, *command])
    done = subprocess.run(whole, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command[:6])} … failed:\n{(done.stdout + done.stderr)[-3000:]}")


def lay_out() -> Path:
    """A fresh copy of what an engine needs: the repository as git would have it, and the stand-ins. Its compose/."""
    for name in ("repo", "standins"):
        shutil.rmtree(SHARED / name, ignore_errors=True)
    shutil.copytree(HERE / "standins", SHARED / "standins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(find_mongod(), SHARED / "standins" / "mongo" / "mongod")
    copy_sources(SHARED / "repo", ".dockerignore")
    return SHARED / "repo" / "compose"


def copy_sources(place: Path, *more: str) -> None:
    """What Hegemon is installed of, without anybody's secrets, and `more` of the repository, to a new directory."""
    leave_out = shutil.ignore_patterns("__pycache__", ".env", "node.env", "secrets")
    for name in ("compose", "hegemon", "examples", "pyproject.toml", "README.md", "LICENSE", *more):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, place / name)


def main(arguments: Sequence[str]) -> None:
    """Build for the engines named, all if none is; `--held` if whoever calls has the lab already."""
    engines = [name for name in arguments if name != "--held"] or list(ENGINE_PACKAGES)
    try:
        if "--held" in arguments:
            build(engines)
        else:
            with held(patience=1800):
                build(engines)
    except LabError as error:
        print(f"compose lab: {error}", file=sys.stderr)  # noqa: T201 - so that the exit code can say more than 1
        sys.exit(UNAVAILABLE)


if __name__ == "__main__":
    main(sys.argv[1:])
