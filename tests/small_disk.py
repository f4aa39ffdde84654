"""A file system of a few MB, to be filled: what becomes of whoever writes there. It takes root on Linux."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """The file system mounted at `path`."""

    path: Path

    def fill(self) -> None:
        """Leave no room at all, not for one byte in a file that has none."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 16, 1):
                with contextlib.suppress(OSError):
                    while filler.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Take back what `fill` has taken."""
        (self.path / "filler").unlink()


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """One for the length of the block; skips where we may not mount it."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk takes root on Linux: {error}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process that still has a file open there is no reason to leave it to the machine.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
