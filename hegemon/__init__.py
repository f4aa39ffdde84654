"""Hegemon: background jobs on a cluster that elects its own leader. This is the public API; all else may change.

from hegemon import job, Context

@job("greet")
async def greet(name: str, ctx: Context) -> str:
return f"Hello, {name}"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hegemon.queue.retry import Reject, RetryAfter, RetryPolicy
from hegemon.version import VERSION
from hegemon.worker.context import Context
from hegemon.worker.registry import job

if TYPE_CHECKING:
    from hegemon.client import ApiError, AsyncClient, Client, ClientError, JobInfo, Unreachable, WaitTimeout

__version__ = VERSION
__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Context",
    "JobInfo",
    "Reject",
    "RetryAfter",
    "RetryPolicy",
    "Unreachable",
    "WaitTimeout",
    "job",
]

_CLIENT = frozenset({"ApiError", "AsyncClient", "Client", "ClientError", "JobInfo", "Unreachable", "WaitTimeout"})


def __getattr__(name: str) -> Any:
    # The client brings an HTTP library along, which a worker process does not need.
    if name in _CLIENT:
        from hegemon import client  # noqa: PLC0415 - only when asked for, see above

        return getattr(client, name)
    raise AttributeError(f"module 'hegemon' has no attribute {name!r}")
