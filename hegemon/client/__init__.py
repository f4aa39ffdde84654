"""The Python client of the REST API: `Client` for ordinary code, `AsyncClient` for asyncio. Same methods, same errors.

    with Client("http://127.0.0.1:8080") as client:
        job_id = client.submit("resize-image", {"folder": "photos"}, priority="high")
        print(client.wait(job_id, timeout=60).result)

`calls` builds requests and reads replies, `retrying` decides whether to ask again; both are pure. `sync` and `aio` are
the two thin shells that do the I/O.
"""

from hegemon.client.aio import AsyncClient
from hegemon.client.credentials import TokenPair
from hegemon.client.errors import ApiError, ClientError, Unreachable, WaitTimeout
from hegemon.client.sync import Client
from hegemon.client.views import AttemptInfo, JobInfo

__all__ = [
    "ApiError",
    "AsyncClient",
    "AttemptInfo",
    "Client",
    "ClientError",
    "JobInfo",
    "TokenPair",
    "Unreachable",
    "WaitTimeout",
]
