"""The ASGI end of one path: every check that stands before a handler, in order, and every failure made a problem.

FastAPI routes to it as a plain ASGI application: no dependency injection, validation layer or middleware lies between.

    address    who asks, as far as the connection (and the proxies that are trusted) can say     `addresses`
    site       a browser's request from a site that is not ours is refused                       `origins`
    rate       of the address; 429 rate_limited                                                  `rate_limits`
    principal  by the credential; 401                                                            `Gate`
    role       by the table of access; 403                                                       `access`
    rate       of the principal; 429                                                             `rate_limits`
    handler    with `call.principal` and `call.address`
    audit      of operations that are `audited`, and of every refusal of a credential or a role  `Auditor`

What is limited before a request is whole (connections, heads, bodies, slow clients) is kept in `connections`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from hegemon.api.access import Access
from hegemon.api.addresses import NO_PROXIES, Proxies
from hegemon.api.call import OVERTIME, Call, ClientGone
from hegemon.api.origins import Origins
from hegemon.api.problems import ApiError, from_auth_error, from_queue_error, reply_to
from hegemon.api.rate_limits import RateLimits
from hegemon.api.reply import Header, Outlet, Reply
from hegemon.api.security_headers import STRICT_TRANSPORT
from hegemon.auth.errors import AuthError
from hegemon.auth.roles import Principal, Role
from hegemon.cluster.ports import Jobs, Metrics, Observer
from hegemon.log_context import REQUEST
from hegemon.measures import HTTP, HTTP_TIME, Meter, Meters
from hegemon.queue.errors import QueueError, StoreUnavailable

# How long an upload that was refused is still read: a socket closed on unread data resets, and the answer is lost.
LINGER_S: Final = 2.0
# Who calls a public operation of a node with authentication: its credential, if any, is not looked at.
STRANGER: Final = Principal("stranger", Role.VIEWER, frozenset())
CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="hegemon"')

_READS: Final = frozenset({"GET", "HEAD"})
log = structlog.get_logger(__name__)


class Gate(Protocol):
    """Tells who a credential belongs to. Both raise `AuthError`: Unauthenticated or TokenExpired."""

    def known(self, credential: bytes) -> Principal | None:
        """The principal of a credential that was checked before and is still good; None if it must be checked."""

    async def authenticate(self, credential: bytes) -> Principal:
        """Check the credential."""

    async def refresh(self) -> None:
        """Wait until `fresh`, which takes a moment; StoreUnavailable when it takes longer."""

    @property
    def fresh(self) -> bool:
        """Whether this node knows of every revocation that is older than a second. While it does not, whoever has a
        credential may read, and change nothing."""


class Auditor(Protocol):
    """Writes down who did what."""

    async def admit(self, call: Call, operation: str) -> None:
        """Before the handler of an audited operation. QueueError if what it does could not be written down."""

    async def record(self, call: Call, operation: str, reply: Reply) -> None:
        """After the handler of an audited operation. QueueError if an outcome that is not written down must not be
        told."""

    def broken(self, call: Call, operation: str) -> None:
        """The handler of an audited operation ended in a fault, or was cut off: nobody knows what it did."""

    def refused(self, call: Call, operation: str, status: int) -> None:
        """A credential was refused (401) or a role was (403)."""


@dataclass(frozen=True, slots=True)
class Node:
    """What handlers work with, and what stands before them. `metrics` is None where metrics are off; `gate` and
    `access` are None where AUTH_ENABLED is off, and everybody is ANONYMOUS then."""

    jobs: Jobs
    observer: Observer
    version: str
    request_bytes_max: int
    metrics: Metrics | None
    gate: Gate | None = None
    access: Mapping[tuple[str, str], Access] | None = None
    limits: RateLimits | None = None
    auditor: Auditor | None = None
    proxies: Proxies = NO_PROXIES
    origins: Origins = field(default_factory=Origins)
    meters: Meters = field(default_factory=Meters)
    # What stands behind the operations around users, keys and the audit, for their own handlers.
    services: Mapping[str, Any] = field(default_factory=dict)


Handler = Callable[[Node, Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of a path. `name` is the operation's; `audited` says that its outcomes are written down."""

    handler: Handler
    name: str = ""
    audited: bool = False


class Resource:
    """One path with an endpoint for each of its methods; HEAD is GET without its body (the server leaves it out).

    `path` is the template that the table of access knows. A method that has no row there is refused to everybody.
    """

    def __init__(self, node: Node, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        self._node = node
        self._endpoints = dict(endpoints)
        self._measured: dict[tuple[str, int], tuple[Meter, Meter]] = {}
        table = node.access
        self._access = None if table is None else {m: table.get((m, path), NOBODY) for m in self._endpoints}
        if "GET" in self._endpoints:
            self._endpoints["HEAD"] = self._endpoints["GET"]
            if self._access is not None:
                self._access["HEAD"] = self._access["GET"]
        self._allow = ", ".join(sorted(self._endpoints)).encode()

    @property
    def methods(self) -> frozenset[str]:
        """What this path answers to."""
        return frozenset(self._endpoints)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        call = Call(scope, receive, self._node.request_bytes_max)
        began = time.monotonic()
        # A request has a task of its own, whose context ends with it.
        REQUEST.set(call.request_id)
        try:
            reply = await self._reply(call)
        except ClientGone:
            return
        except asyncio.CancelledError:
            reply = _cut_off(call)
        self._measure(scope["method"], reply.status, time.monotonic() - began)
        await respond(call, reply, send)

    def _measure(self, method: str, status: int, seconds: float) -> None:
        endpoint = self._endpoints.get(method)
        name = "unknown" if endpoint is None else endpoint.name or "page"
        known = self._measured.get((name, status // 100))
        if known is None:
            meters = self._node.meters
            known = meters.at(HTTP, name, f"{status // 100}xx"), meters.at(HTTP_TIME, name)
            self._measured[name, status // 100] = known
        known[0].add()
        known[1].observe(seconds)

    async def _reply(self, call: Call) -> Reply:
        try:
            return await self._serve(call)
        except (ApiError, QueueError, AuthError) as error:
            return refusal(call, error)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log the rest
            log_failure(call, error)
            return reply_to(ApiError("internal_error"), call.request_id)

    async def _serve(self, call: Call) -> Reply:
        """Every check in its order, then the handler."""
        node, scope = self._node, call.scope
        method = scope["method"]
        call.address = node.proxies.client(scope, call.headers)
        if node.proxies and scope["scheme"] == "http" and node.proxies.secure(scope, call.headers):
            call.reply_headers = (STRICT_TRANSPORT,)
        node.origins.check(call, method)
        limits = node.limits
        if limits is not None:
            limits.take_address(call)
        endpoint = self._endpoints.get(method)
        if endpoint is None:
            return self._no_method(call, method)
        if self._access is not None:
            await self._admit(call, endpoint, self._access[method], method)
        if limits is not None and call.principal is not STRANGER:
            # Strangers are limited by address alone: one of them must not use up what all of them have.
            limits.take_principal(call)
        if node.auditor is None:
            return await endpoint.handler(node, call)
        if endpoint.audited:
            return await self._audited(call, endpoint, node.auditor)
        try:
            return await endpoint.handler(node, call)
        except ApiError as error:
            if error.code == "forbidden":
                # The role may, and not in this queue.
                node.auditor.refused(call, endpoint.name, 403)
            raise

    async def _admit(self, call: Call, endpoint: Endpoint, access: Access, method: str) -> None:
        """`call.principal`, if its role may do this. ApiError otherwise."""
        gate, limits = self._node.gate, self._node.limits
        if gate is None:
            return
        if access.public:
            call.principal = STRANGER
            return
        credential = call.credential()
        if credential is None:
            raise ApiError("unauthenticated", headers=(CHALLENGE,))
        try:
            principal = gate.known(credential)
            if principal is None:
                if limits is not None:
                    limits.check_refusals(call)
                principal = await gate.authenticate(credential)
        except AuthError as error:
            if limits is not None:
                limits.take_refusal(call)
            if self._node.auditor is not None:
                self._node.auditor.refused(call, endpoint.name, 401)
            raise from_auth_error(error, sent=True) from error
        call.principal = principal
        if principal.role not in access.roles:
            if self._node.auditor is not None:
                self._node.auditor.refused(call, endpoint.name, 403)
            raise ApiError("forbidden")
        if method not in _READS and not gate.fresh:
            await self._look_again(gate, credential)

    @staticmethod
    async def _look_again(gate: Gate, credential: bytes) -> None:
        """Before anything is changed on the word of a list of revocations that may be old. StoreUnavailable."""
        await gate.refresh()
        if gate.known(credential) is None:
            try:
                await gate.authenticate(credential)
            except AuthError as error:
                raise from_auth_error(error, sent=True) from error

    async def _audited(self, call: Call, endpoint: Endpoint, auditor: Auditor) -> Reply:
        await auditor.admit(call, endpoint.name)
        try:
            reply = await endpoint.handler(self._node, call)
        except (ApiError, QueueError, AuthError) as error:
            reply = refusal(call, error)
        except BaseException:
            auditor.broken(call, endpoint.name)
            raise
        await auditor.record(call, endpoint.name, reply)
        return reply

    def _no_method(self, call: Call, method: str) -> Reply:
        if method == "OPTIONS":
            preflight = self._node.origins.preflight(call, self._allow)
            if preflight is not None:
                return preflight
        if not self._endpoints:
            raise ApiError("not_found")
        raise ApiError("method_not_allowed", headers=((b"allow", self._allow),))


NOBODY: Final = Access(frozenset())


def _cut_off(call: Call) -> Reply:
    """Somebody ended the request: the sweep of slow clients, or a stop that has outlasted its grace. An answer is
    better than a broken connection either way. What was to be changed may have been."""
    reads = call.scope["method"] in _READS
    overtime = call.scope.get(OVERTIME)
    if overtime == "body":
        return reply_to(ApiError("request_timeout", "the body came too slowly", hang_up=True), call.request_id)
    if overtime is not None and reads:
        return reply_to(ApiError("request_timeout", "the answer took too long"), call.request_id)
    return reply_to(ApiError("stopping" if reads else "outcome_unknown"), call.request_id)


def refusal(call: Call, error: ApiError | QueueError | AuthError) -> Reply:
    """The problem of an error that somebody foresaw. What is internal goes to the log."""
    if isinstance(error, ApiError):
        return reply_to(error, call.request_id)
    problem = from_queue_error(error) if isinstance(error, QueueError) else from_auth_error(error)
    if problem.code != error.code:
        log_failure(call, error)
    if call.principal is STRANGER and isinstance(error, StoreUnavailable):
        # The driver's words name hosts and ports of the stores.
        problem.detail = None
    return reply_to(problem, call.request_id)


def log_failure(call: Call, error: Exception) -> None:
    """To the log with its traceback, under the id that the caller was given."""
    method, path = call.scope["method"], call.scope["path"]
    log.error("request_failed", method=method, path=path, request_id=call.request_id, exc_info=error)


async def respond(call: Call, reply: Reply, send: Any) -> None:
    """Send `reply`. The headers that every answer has come from the server (`security_headers`)."""
    headers = [(b"x-request-id", call.request_id.encode()), *call.reply_headers, *reply.headers]
    if call.limited is not None:
        limit, full_in_s = call.limited
        headers += limit.headers(full_in_s)
    if reply.stream is not None:
        await _respond_on(call, reply, headers, send)
        return
    if reply.status not in (204, 304):
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


async def _respond_on(call: Call, reply: Reply, headers: list[Header], send: Any) -> None:
    headers.append((b"content-type", reply.content_type))
    start = {"type": "http.response.start", "status": reply.status, "headers": headers}
    outlets: list[Outlet] = []
    if call.scope["method"] == "HEAD" or reply.stream is None:
        await send(start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    # `exchange` knows the word.
    await send({**start, "hegemon.stream": outlets.append})
    for outlet in outlets:
        await reply.stream(outlet)


async def _linger(call: Call) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            await call.discard()
    except (TimeoutError, ClientGone):
        pass
