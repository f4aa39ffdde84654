"""The ASGI end of one path: picks the operation, turns every failure into a problem, and sends the answer.

FastAPI routes to it as a plain ASGI application: no dependency injection, validation layer or middleware lies between.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hegemon.api.call import Call, ClientGone
from hegemon.api.problems import ApiError, from_queue_error, reply_to
from hegemon.api.reply import Reply
from hegemon.cluster.ports import Jobs, Observer
from hegemon.queue.errors import QueueError

# How long an upload that was refused is still read: a socket closed on unread data resets, and the answer is lost.
LINGER_S: Final = 2.0

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_log = logging.getLogger("hegemon.api")


@dataclass(frozen=True, slots=True)
class Node:
    """What handlers work with. `metrics` is None where metrics are off."""

    jobs: Jobs
    observer: Observer
    version: str
    request_bytes_max: int
    metrics: Callable[[], bytes] | None


Handler = Callable[[Node, Call], Awaitable[Reply]]


class Resource:
    """One path with a handler for each of its methods; HEAD is GET without its body (the server leaves it out)."""

    def __init__(self, node: Node, handlers: Mapping[str, Handler]) -> None:
        self._node = node
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._allow = ", ".join(sorted(self._handlers)).encode()

    @property
    def methods(self) -> frozenset[str]:
        """What this path answers to."""
        return frozenset(self._handlers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        call = Call(scope, receive, request_id(scope), self._node.request_bytes_max)
        try:
            reply = await self._reply(call)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # Only the server cancels, when a stop has outlasted its grace: this is the request's end either way, and an
            # answer is better than a broken connection. What was to be changed may have been.
            code = "stopping" if scope["method"] in ("GET", "HEAD") else "outcome_unknown"
            reply = reply_to(ApiError(code), call.request_id)
        await respond(call, reply, send)

    async def _reply(self, call: Call) -> Reply:
        try:
            return await self._handlers.get(call.scope["method"], self._not_allowed)(self._node, call)
        except ApiError as error:
            return reply_to(error, call.request_id)
        except QueueError as error:
            problem = from_queue_error(error)
            if problem.code != error.code:
                log_failure(call, error)
            return reply_to(problem, call.request_id)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log the rest
            log_failure(call, error)
            return reply_to(ApiError("internal_error"), call.request_id)

    async def _not_allowed(self, node: Node, call: Call) -> Reply:
        raise ApiError("method_not_allowed", headers=((b"allow", self._allow),))


def request_id(scope: Any) -> str:
    """The caller's X-Request-ID if it is a plain word of at most 64 characters, else a new one of 64 random bits."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return os.urandom(8).hex()


def log_failure(call: Call, error: Exception) -> None:
    """To the log with its traceback, under the id that the caller was given."""
    method, path = call.scope["method"], call.scope["path"]
    _log.error("%s %r failed, request id %s", method, path, call.request_id, exc_info=error)


async def respond(call: Call, reply: Reply, send: Any) -> None:
    """Send `reply`."""
    headers = [(b"x-request-id", call.request_id.encode()), *reply.headers]
    if reply.status != 204:
        headers.append((b"content-type", reply.content_type))
        headers.append((b"content-length", b"%d" % len(reply.body)))
    if reply.hang_up:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.hang_up:
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        await _linger(call)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _linger(call: Call) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            await call.discard()
    except (TimeoutError, ClientGone):
        pass
