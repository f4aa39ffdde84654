"""Whole files or none: a job may be killed at any line and run again, so its output must never be seen half written."""

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder if need be and replacing what was there.

    Readers see the old file or the new one, never a part. The data is on disk when this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two attempts of one job may write the same target at once, so each needs a name of its own until it is whole.
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
