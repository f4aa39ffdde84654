"""Puts the API together: one route a path, straight to a `Resource`; FastAPI routes and serves the description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hegemon.api import (
    activity_operations,
    audit_operations,
    auth_operations,
    config_operations,
    dead_operations,
    election_operations,
    job_operations,
    key_operations,
    log_operations,
    node_operations,
    pages,
    user_operations,
)
from hegemon.api.access import ACCESS
from hegemon.api.activity_streams import ActivityStreams, missing_nodes
from hegemon.api.addresses import NO_PROXIES, Proxies
from hegemon.api.auditing import ApiAuditor
from hegemon.api.call import Call, join_headers, request_id
from hegemon.api.legacy import with_twins
from hegemon.api.openapi import specification
from hegemon.api.operation import Operation
from hegemon.api.origins import Origins
from hegemon.api.principal import IDENTITY
from hegemon.api.problems import ApiError, reply_to
from hegemon.api.rate_limits import RateLimits
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Endpoint, Node, Resource
from hegemon.auth.audit import AuditLog
from hegemon.auth.identity import Identity
from hegemon.cluster.ports import Jobs, Metrics, Observer
from hegemon.measures import Meters

TITLE: Final = "Hegemon"
DESCRIPTION_PATH: Final = "/openapi.json"
# The order is the order in which paths are tried: the hot ones first, and `jobs/batch` before `jobs/{id}`.
OPERATIONS: Final[tuple[Operation, ...]] = (
    *job_operations.OPERATIONS,
    *dead_operations.OPERATIONS,
    *node_operations.OPERATIONS,
    *election_operations.OPERATIONS,
    *activity_operations.OPERATIONS,
    *log_operations.OPERATIONS,
    *auth_operations.OPERATIONS,
    *user_operations.OPERATIONS,
    *key_operations.OPERATIONS,
    *audit_operations.OPERATIONS,
    *config_operations.OPERATIONS,
)


class Api(FastAPI):
    """FastAPI with a shorter way to paths that hold no parameter: its own layers cost 41 of 159 µs of a submission."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fixed: dict[str, Resource] = {}
        self.streams: ActivityStreams

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        resource = self.fixed.get(scope["path"]) if scope["type"] == "http" else None
        await (super().__call__ if resource is None else resource)(scope, receive, send)


def create_app(
    jobs: Jobs,
    observer: Observer,
    *,
    version: str,
    request_bytes_max: int,
    metrics: Metrics | None,
    limits: RateLimits | None = None,
    proxies: Proxies = NO_PROXIES,
    origins: Origins | None = None,
    identity: Identity | None = None,
    audit: AuditLog | None = None,
    config: Callable[[], Mapping[str, str]] | None = None,
    meters: Meters | None = None,
    streams_max: int = 1024,
) -> Api:
    """The API of one node over its two ports.

    `version` is shown in `/health` and in `/openapi.json`; `request_bytes_max` bounds every request's body;
    `metrics` gives what `/metrics` answers, None leaves that path at 404; `meters` get how long requests take;
    `streams_max` bounds the streams of events, which whoever stops the server ends first (`streams`).
    There is no `/docs`: FastAPI's pages load their scripts from the network, which a node may not have.
    """
    gate = None if identity is None else identity.gate
    streams = ActivityStreams(observer.feed, missing=missing_nodes(observer), gate=gate, streams_max=streams_max)
    node = Node(
        jobs,
        observer,
        version,
        request_bytes_max,
        metrics,
        limits=limits,
        proxies=proxies,
        origins=origins or Origins(),
        gate=gate,
        access=None if identity is None else ACCESS,
        auditor=None if audit is None else ApiAuditor(audit, OPERATIONS),
        meters=meters or Meters(),
        services={IDENTITY: identity, "audit": audit, "config": config, activity_operations.STREAMS: streams},
    )
    app = Api(title=TITLE, version=version, openapi_url=None, redirect_slashes=False)
    app.streams = streams
    resources = with_twins(_resources(node))
    app.router.routes.extend(Route(path, endpoint=resource) for path, resource in resources.items())
    app.fixed = {path: resource for path, resource in resources.items() if "{" not in path}
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(Exception, _failure)
    # FastAPI would ask its own routes for the description; ours are not of its kind.
    app.openapi_schema = specification(OPERATIONS, title=TITLE, version=version)
    written = ok(app.openapi_schema)

    async def openapi(node: Node, call: Call) -> Reply:
        del node, call
        return written

    described = Resource(node, DESCRIPTION_PATH, {"GET": Endpoint(openapi, "openapi")})
    app.router.routes.append(Route(DESCRIPTION_PATH, endpoint=described))
    app.router.routes.extend(pages.routes(node))
    # Unknown paths too: whoever tries them is counted by the limits.
    app.router.default = Resource(node, "", {})
    return app


def _resources(node: Node) -> dict[str, Resource]:
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in OPERATIONS:
        endpoint = Endpoint(operation.handler, operation.name, operation.audited)
        by_path.setdefault(operation.path, {})[operation.method] = endpoint
    return with_twins({path: Resource(node, path, endpoints) for path, endpoints in by_path.items()})


async def _refusal(request: Request, error: Exception) -> Response:
    """What the router refuses by itself: unknown paths. Wrong methods are the `Resource`'s."""
    known = isinstance(error, HTTPException) and error.status_code == 404
    return _response(request, "not_found" if known else "internal_error")


async def _failure(request: Request, error: Exception) -> Response:
    """The last resort, for faults outside every `Resource`; the server logs the error, which is raised on."""
    del error
    return _response(request, "internal_error")


def _response(request: Request, code: str) -> Response:
    identity = request_id(join_headers(request.scope["headers"]))
    reply = reply_to(ApiError(code), identity)
    return Response(reply.body, reply.status, {"x-request-id": identity}, reply.content_type.decode())
