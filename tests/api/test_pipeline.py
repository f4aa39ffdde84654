"""What stands before a handler, check by check, over every operation that there is. Handlers are stand-ins."""

import ipaddress
import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hegemon.api.access import ACCESS, Access
from hegemon.api.addresses import Proxies
from hegemon.api.app import OPERATIONS
from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.api.rate_limits import RateLimits
from hegemon.api.reply import Reply
from hegemon.api.resource import Endpoint, Node, Resource
from hegemon.auth.errors import TokenExpired, Unauthenticated
from hegemon.auth.roles import Principal, Role
from hegemon.cluster.limit_settings import Rate
from hegemon.queue.errors import StoreUnavailable
from tests.api.memory import MemoryNode

ROWS = [(operation.method, operation.path) for operation in OPERATIONS]
JOBS = "/api/v1/jobs"


class FakeGate:
    """Knows `known-ROLE` at once and `new-ROLE` after asking."""

    def __init__(self) -> None:
        self.fresh = True
        self.asked: list[bytes] = []

    def known(self, credential: bytes) -> Principal | None:
        kind, _, role = credential.decode("latin-1").partition("-")
        return Principal(f"user:{role}", Role(role)) if kind == "known" and role in set(Role) else None

    async def authenticate(self, credential: bytes) -> Principal:
        self.asked.append(credential)
        kind, _, role = credential.decode("latin-1").partition("-")
        if kind == "old":
            raise TokenExpired
        if kind != "new":
            raise Unauthenticated
        return Principal(f"user:{role}", Role(role))

    async def refresh(self) -> None:
        """The store stays away, as long as `fresh` is False."""
        raise StoreUnavailable("MongoDB")


class FakeAuditor:
    def __init__(self) -> None:
        self.written: list[tuple[str, str, int]] = []
        self.full = False

    async def admit(self, call: Call, operation: str) -> None:
        if self.full:
            raise ApiError("store_unavailable")

    async def record(self, call: Call, operation: str, reply: Reply) -> None:
        self.written.append((operation, call.principal.id, reply.status))

    def broken(self, call: Call, operation: str) -> None:
        self.written.append((operation, "broken", 0))

    def refused(self, call: Call, operation: str, status: int) -> None:
        self.written.append((operation, "refused", status))


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


class Pipeline:
    """A node with stand-ins for what the pipeline asks."""

    def __init__(self, **parts: Any) -> None:
        self.gate, self.auditor = FakeGate(), FakeAuditor()
        memory = MemoryNode()
        self.node = replace(
            Node(memory, memory, "1", 1000, None, gate=self.gate, access=ACCESS, auditor=self.auditor), **parts
        )
        self.handled: list[Call] = []

    async def handler(self, node: Node, call: Call) -> Reply:
        self.handled.append(call)
        return Reply(204)

    async def ask(
        self, method: str, path: str, *headers: tuple[str, str], peer: str = "198.51.100.1", **endpoint: Any
    ) -> Answer:
        resource = Resource(
            self.node, path, {method: Endpoint(endpoint.pop("handler", self.handler), "op", **endpoint)}
        )
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "client": (peer, 4711),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }
        await resource(scope, None, send)
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"])


def bearer(credential: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {credential}")


@pytest.mark.parametrize(("method", "path"), ROWS)
async def test_without_a_credential_only_what_is_public_is_answered(method: str, path: str) -> None:
    pipeline = Pipeline()
    answer = await pipeline.ask(method, path)
    if ACCESS[method, path].public:
        assert answer.status == 204
        assert pipeline.handled[0].principal.queues == frozenset()
    else:
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers[b"www-authenticate"] == b'Bearer realm="hegemon"'
        assert not pipeline.handled


@pytest.mark.parametrize(("method", "path"), ROWS)
async def test_each_role_may_do_what_the_table_says_and_nothing_else(method: str, path: str) -> None:
    for role, kind in itertools.product(Role, ("known", "new")):
        pipeline = Pipeline()
        answer = await pipeline.ask(method, path, bearer(f"{kind}-{role}"))
        assert answer.status == (204 if ACCESS[method, path].allows(role) else 403), role
        assert bool(pipeline.handled) == (answer.status == 204)


@pytest.mark.parametrize(
    "headers",
    [
        [bearer("nonsense")],
        [bearer("")],
        [("authorization", "known-admin")],
        [("authorization", "Basic known-admin")],
        [("authorization", "Bearerknown-admin")],
        [bearer("known-admin"), ("x-api-key", "known-admin")],
        [bearer("known-admin"), bearer("known-admin")],
        [("x-api-key", "nonsense")],
    ],
)
async def test_what_is_no_single_good_credential_is_refused_as_invalid(headers: list[tuple[str, str]]) -> None:
    pipeline = Pipeline()
    answer = await pipeline.ask("GET", JOBS, *headers)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert b'error="invalid_token"' in answer.headers[b"www-authenticate"]
    assert not pipeline.handled
    assert pipeline.auditor.written == [("op", "refused", 401)]


async def test_an_expired_token_is_told_apart_and_the_schemes_name_has_no_case() -> None:
    pipeline = Pipeline()
    assert (await pipeline.ask("GET", JOBS, bearer("old-admin"))).code == "token_expired"
    assert (await pipeline.ask("GET", JOBS, ("authorization", "bearer  known-admin "))).status == 204
    assert (await pipeline.ask("GET", JOBS, ("x-api-key", "known-admin"))).status == 204


async def test_an_operation_without_a_row_is_for_nobody() -> None:
    pipeline = Pipeline()
    for role in Role:
        assert (await pipeline.ask("GET", "/api/v1/forgotten", bearer(f"known-{role}"))).status == 403
    assert not Access(frozenset()).allows(Role.ADMIN)


async def test_a_node_that_does_not_know_the_latest_revocations_reads_and_changes_nothing() -> None:
    pipeline = Pipeline()
    pipeline.gate.fresh = False
    assert (await pipeline.ask("GET", JOBS, bearer("known-user"))).status == 204
    answer = await pipeline.ask("POST", JOBS, bearer("known-user"))
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert (await pipeline.ask("POST", "/auth/login")).status == 204


async def test_whoever_guesses_is_stopped_and_whoever_is_known_goes_on() -> None:
    limits = RateLimits(address=None, principal=None, refusals=Rate(1, "h", 3), clock=lambda: 5.0)
    pipeline = Pipeline(limits=limits)
    codes = [(await pipeline.ask("GET", JOBS, bearer(f"guess {n}"))).code for n in range(5)]
    assert codes == ["unauthenticated"] * 3 + ["rate_limited"] * 2
    assert len(pipeline.gate.asked) == 3
    assert (await pipeline.ask("GET", JOBS, bearer("known-user"))).status == 204
    assert (await pipeline.ask("GET", JOBS, bearer("new-user"))).code == "rate_limited"
    assert (await pipeline.ask("GET", JOBS, bearer("new-user"), peer="198.51.100.2")).status == 204


async def test_an_address_is_limited_before_anything_is_looked_at_and_a_principal_after_its_role() -> None:
    limits = RateLimits(address=Rate(1, "h", 4), principal=Rate(1, "h", 2), refusals=None, clock=lambda: 5.0)
    pipeline = Pipeline(limits=limits)
    assert (await pipeline.ask("GET", "/api/v1/users", bearer("known-user"))).status == 403
    left = [(await pipeline.ask("GET", JOBS, bearer("known-user"))).headers[b"ratelimit"] for _ in range(2)]
    assert [text.split(b";")[:2] for text in left] == [[b'"principal"', b"r=1"], [b'"principal"', b"r=0"]]
    over = await pipeline.ask("GET", JOBS, bearer("known-user"))
    assert (over.status, over.code) == (429, "rate_limited")
    assert int(over.headers[b"retry-after"]) == 3600
    assert b'"address"' in (await pipeline.ask("GET", JOBS, bearer("new-admin"))).headers[b"ratelimit"]
    assert not pipeline.gate.asked
    assert (await pipeline.ask("GET", JOBS, bearer("new-admin"), peer="198.51.100.2")).status == 204


async def test_strangers_are_limited_by_address_and_cannot_use_up_what_others_have() -> None:
    limits = RateLimits(address=Rate(1, "h", 4), principal=Rate(1, "h", 2), refusals=None, clock=lambda: 5.0)
    pipeline = Pipeline(limits=limits)
    assert [(await pipeline.ask("POST", "/auth/login")).status for _ in range(5)] == [204] * 4 + [429]
    assert (await pipeline.ask("POST", "/auth/login", peer="198.51.100.2")).status == 204


async def test_a_refusal_by_the_handler_is_written_down_too() -> None:
    pipeline = Pipeline()

    async def refuse(node: Node, call: Call) -> Reply:
        raise ApiError("forbidden")

    async def miss(node: Node, call: Call) -> Reply:
        raise ApiError("not_found")

    await pipeline.ask("POST", JOBS, bearer("known-user"), handler=refuse)
    await pipeline.ask("POST", JOBS, bearer("known-user"), handler=miss)
    assert pipeline.auditor.written == [("op", "refused", 403)]


@pytest.mark.parametrize("audited", [False, True])
async def test_strangers_are_not_told_where_the_stores_are(audited: bool) -> None:
    pipeline = Pipeline()

    async def fail(node: Node, call: Call) -> Reply:
        raise StoreUnavailable("MongoDB", "MongoDB does not answer: mongo-7.internal:27017 refused")

    stranger = await pipeline.ask("POST", "/auth/login", handler=fail, audited=audited)
    assert (stranger.status, stranger.code) == (503, "store_unavailable")
    assert b"internal" not in stranger.body
    assert b"internal" in (await pipeline.ask("POST", JOBS, bearer("known-user"), handler=fail, audited=audited)).body


async def test_whoever_comes_over_tls_to_a_trusted_proxy_is_told_to_stay_with_it() -> None:
    pipeline = Pipeline(proxies=Proxies([ipaddress.ip_network("10.0.0.0/8")]))
    over_tls = ("x-forwarded-proto", "https")
    for peer, headers, told in (
        ("10.0.0.1", [over_tls], True),
        ("10.0.0.1", [], False),
        ("198.51.100.1", [over_tls], False),
    ):
        answer = await pipeline.ask("GET", "/livez", *headers, peer=peer)
        assert (b"strict-transport-security" in answer.headers) is told


async def test_the_outcome_of_what_is_audited_is_written_down_whatever_it_is() -> None:
    pipeline = Pipeline()

    async def refuse(node: Node, call: Call) -> Reply:
        raise ApiError("not_found")

    await pipeline.ask("POST", JOBS, bearer("known-user"), audited=True)
    await pipeline.ask("POST", JOBS, bearer("known-user"), audited=True, handler=refuse)
    await pipeline.ask("POST", JOBS, bearer("known-user"), audited=False)
    await pipeline.ask("POST", JOBS, bearer("known-viewer"), audited=True)
    assert pipeline.auditor.written == [("op", "user:user", 204), ("op", "user:user", 404), ("op", "refused", 403)]


async def test_what_could_not_be_written_down_is_not_done() -> None:
    pipeline = Pipeline()
    pipeline.auditor.full = True
    assert (await pipeline.ask("POST", JOBS, bearer("known-user"), audited=True)).status == 503
    assert not pipeline.handled


async def test_without_authentication_everybody_is_anonymous_and_may_do_everything() -> None:
    pipeline = Pipeline(gate=None, access=None)
    for method, path in ROWS:
        assert (await pipeline.ask(method, path)).status == 204
    assert {call.principal.id for call in pipeline.handled} == {"anonymous"}
