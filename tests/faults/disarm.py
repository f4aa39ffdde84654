"""Named in HANDLERS beside the real ones: of all worker processes exactly one dies by its failpoint.

Failpoints are armed by the environment, which a worker's successor inherits: without this it would die at the same
line. Who dies makes the file DISARMED first; where that is already, nobody dies: no test must outrun a new process.
"""

import os
import signal
from pathlib import Path

from hegemon import failpoints

_disarmed = os.environ.get("DISARMED")


class _Once:
    """The `os` that the failpoints see: its `kill` spares us when another has died of it."""

    getpid = staticmethod(os.getpid)

    @staticmethod
    def kill(pid: int, number: signal.Signals) -> None:
        try:
            Path(str(_disarmed)).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(pid, number)


if _disarmed is not None and failpoints._armed:
    failpoints.__dict__["os"] = _Once
