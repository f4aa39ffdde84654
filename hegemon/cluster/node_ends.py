"""How a node ends that cannot start, or not go on. What was foreseen becomes a sentence for people, and whether another
start may do better; all else is a fault, and is left as it is, so that it is logged whole.
"""

from __future__ import annotations

import errno

from hegemon.auth.errors import AuthSettingsError
from hegemon.cluster.electors import ElectionBroken, ElectionFault
from hegemon.cluster.supervisor import WorkerStartError
from hegemon.cluster.twins import TwinError, TwinGone
from hegemon.queue.errors import StoreUnavailable, WrongStore, leaf

# What stands between a node and its stores before it runs.
UNJOINED = (WorkerStartError, TwinError, WrongStore, StoreUnavailable, AuthSettingsError)
_RUNNING = (WorkerStartError, WrongStore, TwinError, ElectionFault)


class StartError(Exception):
    """The node cannot start, or not go on; the message says what to do. `later`: by itself it may, another time."""

    def __init__(self, message: str, *, later: bool = False) -> None:
        super().__init__(message)
        self.later = later


def unjoined(error: Exception) -> StartError:
    """The end of a node that met one of UNJOINED."""
    return StartError(str(error), later=isinstance(error, StoreUnavailable))


def raise_foreseen(failed: BaseExceptionGroup[BaseException], *, started: bool) -> None:
    """Raise StartError for a node whose tasks failed, unless that is a fault. What the system refuses (a port, a file)
    is foreseen only until the node has `started`: after that nobody could tell from a sentence what it was about."""
    error = leaf(failed, *_RUNNING) if started else leaf(failed, *_RUNNING, OSError)
    if isinstance(error, OSError):
        said = error.strerror or str(error) or repr(error)
        # A port may be let go, an address come up, a disk get room; a permission comes from people.
        later = error.errno not in (errno.EACCES, errno.EPERM)
        raise StartError(f"{error.filename}: {said}" if error.filename else said, later=later) from error
    if error is not None:
        raise StartError(str(error), later=isinstance(error, (ElectionBroken, TwinGone))) from error
