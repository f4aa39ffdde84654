"""From a credential to a principal: what is remembered, what is forgotten at once, and what no signature can say."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import jwt
import pytest
from pymongo.errors import AutoReconnect

from hegemon.auth import signing
from hegemon.auth.api_keys import BELIEVED_MS
from hegemon.auth.errors import InvalidUser, KeyNotFound, TokenExpired, Unauthenticated
from hegemon.auth.identity import Identity
from hegemon.auth.logins import SERVICE_TTL_MAX
from hegemon.auth.revocations import KEPT, KEY, OVERLAP, SESSION, TOKEN, USER
from hegemon.auth.roles import Role
from hegemon.auth.tokens import TYPE
from hegemon.auth.users import UserChange
from hegemon.cluster.auth_settings import AuthSettings
from hegemon.cluster.setting_forms import Duration
from hegemon.queue.errors import StoreUnavailable
from tests.auth.parts import OTHER, PASSWORD, SIGNING, Clock, open_identity
from tests.conftest import MongoServer
from tests.waiting import wait_until

HOUR = timedelta(hours=1)


class Gated:
    """The counter of revocations, whose answers wait until the test lets them go; without one it is away."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.asked = 0
        self.go = asyncio.Event()

    async def find_one(self, which: dict[str, Any]) -> Any:
        if self._inner is None:
            raise AutoReconnect("away")
        found = await self._inner.find_one(which)
        self.asked += 1
        await self.go.wait()
        return found


@asynccontextmanager
async def polling(*nodes: Identity) -> AsyncIterator[None]:
    """The nodes follow the list of revocations, as they do when they run."""
    tasks = [asyncio.create_task(node.revocations.run()) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unknown(node: Identity, *credentials: bytes) -> bool:
    return all(node.gate.known(credential) is None for credential in credentials)


def service(identity: Identity, **changes: Any) -> bytes:
    options: dict[str, Any] = {"ttl": HOUR, **changes}
    return identity.logins.service_token("shop", Role.WORKER, **options).token.encode()


async def test_a_token_is_known_after_it_was_checked_once_and_until_it_expires(
    identity: Identity, clock: Clock
) -> None:
    token = service(identity, queues=("mail",))
    assert identity.gate.known(token) is None
    principal = await identity.gate.authenticate(token)
    assert (principal.id, principal.role, principal.queues) == ("service:shop", Role.WORKER, frozenset({"mail"}))
    assert identity.gate.known(token) is principal
    clock.forward(HOUR)
    assert identity.gate.known(token) is None
    with pytest.raises(TokenExpired):
        await identity.gate.authenticate(token)


async def test_another_node_with_the_same_secret_knows_it_and_another_cluster_does_not(
    mongo_server: MongoServer, database: str, clock: Clock, identity: Identity, other_node: Identity
) -> None:
    token = service(identity)
    await other_node.gate.authenticate(token)
    async with open_identity(mongo_server.uri, database, clock=clock, cluster_id="another") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.gate.authenticate(token)


async def test_a_secret_is_changed_without_a_token_becoming_void(
    mongo_server: MongoServer, database: str, clock: Clock, identity: Identity
) -> None:
    old = service(identity)
    async with open_identity(mongo_server.uri, database, clock=clock, secret=OTHER, secret_other=SIGNING) as swapped:
        new = service(swapped)
        await swapped.gate.authenticate(old)
        await swapped.gate.authenticate(new)
        with pytest.raises(Unauthenticated):
            await identity.gate.authenticate(new)
    async with open_identity(mongo_server.uri, database, clock=clock, secret=OTHER) as later:
        await later.gate.authenticate(new)
        with pytest.raises(Unauthenticated):
            await later.gate.authenticate(old)


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        ({"iss": "hegemon:other"}, {}),
        ({"aud": "hegemon:other"}, {}),
        ({"aud": ["hegemon:test"]}, {}),
        ({"nbf": 3_000_000_000}, {}),
        ({"iat": 3_000_000_000}, {}),
        ({"role": "root"}, {}),
        ({"role": None}, {}),
        ({"exp": "soon"}, {}),
        ({"queues": "mail"}, {}),
        ({"exp": None}, {}),
        ({"sub": None}, {}),
        ({"jti": None}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"kid": "../../etc/passwd"}),
        ({}, {"kid": None}),
    ],
)
async def test_a_good_signature_is_not_enough(
    identity: Identity, clock: Clock, changes: dict[str, Any], head: dict[str, Any]
) -> None:
    now_s = clock.now_ms() // 1000
    issuer = identity.tokens.issuer
    good = {"iss": issuer, "aud": issuer, "sub": "service:x", "role": "admin", "jti": "1", "iat": now_s, "nbf": now_s}
    good |= {"exp": now_s + 60}

    def signed(claims: dict[str, Any], more: dict[str, Any]) -> bytes:
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": identity.ring.signing.kid, "typ": TYPE, **more}
        headers = {name: value for name, value in headers.items() if value is not None}
        return jwt.api_jws.encode(
            json.dumps(claims).encode(), SIGNING.encode(), algorithm="HS256", headers=headers
        ).encode()

    await identity.gate.authenticate(signed(good, {}))
    with pytest.raises(Unauthenticated) as refused:
        await identity.gate.authenticate(signed(good | changes, head))
    assert str(refused.value) == str(Unauthenticated())


async def test_what_one_node_revokes_every_node_honours_without_being_asked(
    identity: Identity, other_node: Identity
) -> None:
    await identity.users.add("ana", PASSWORD, Role.USER)
    token = (await identity.logins.login("ana", PASSWORD)).access_token.encode()
    key, text = await identity.keys.add("shop", Role.WORKER, created_by="user:ana")
    issued = identity.logins.service_token("shop", Role.WORKER, ttl=HOUR)
    credentials = (token, text.encode(), issued.token.encode())
    for credential in credentials:
        await other_node.gate.authenticate(credential)
    async with polling(other_node):
        await identity.users.change("ana", UserChange(disabled=True))
        await identity.keys.revoke(key.id)
        await identity.logins.revoke_token(issued.id)
        for credential in credentials:
            await wait_until(lambda: _unknown(other_node, *credentials))
            for node in (identity, other_node):
                with pytest.raises(Unauthenticated):
                    await node.gate.authenticate(credential)


async def test_a_logout_leaves_the_users_other_sessions_alone(identity: Identity) -> None:
    await identity.users.add("ana", PASSWORD, Role.USER)
    one, two = [(await identity.logins.login("ana", PASSWORD)).access_token.encode() for _ in range(2)]
    await identity.gate.authenticate(two)
    await identity.logins.logout(await identity.gate.authenticate(one))
    assert identity.gate.known(one) is None
    assert identity.gate.known(two) is not None


async def test_a_node_that_cannot_see_the_list_says_so_and_goes_on_when_it_can(identity: Identity) -> None:
    for checked_at, fresh in ((time.monotonic() + 3600, True), (float("-inf"), False)):
        identity.revocations._checked_at = checked_at
        assert identity.gate.fresh is fresh
    with pytest.raises(StoreUnavailable):
        await identity.revocations.until_trusted(0.05)
    async with polling(identity):
        await identity.revocations.until_trusted(60)


async def test_a_node_so_busy_that_no_look_is_ever_young_goes_on_all_the_same(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hegemon.auth.revocations.TRUSTED_S", -1.0)
    assert not identity.gate.fresh
    async with polling(identity):
        for _ in range(3):
            await identity.revocations.until_trusted(60)


async def test_a_look_from_before_a_request_does_not_do_for_it(
    identity: Identity, other_node: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hegemon.auth.revocations.TRUSTED_S", -1.0)
    key, _ = await other_node.keys.add("shop", Role.WORKER, created_by="user:ana")
    answers = Gated(identity.revocations._counter)
    identity.revocations._counter = answers  # type: ignore[assignment] # the one call that it takes
    async with polling(identity):
        await wait_until(lambda: answers.asked)
        await other_node.keys.revoke(key.id)
        waiting = asyncio.create_task(identity.revocations.until_trusted(60))
        answers.go.set()
        await waiting
        assert key.id in identity.revocations.revoked.keys


async def test_a_store_that_is_away_turns_a_request_away_at_once(identity: Identity) -> None:
    identity.revocations._checked_at = float("-inf")
    identity.revocations._counter = Gated(None)  # type: ignore[assignment] # the one call that it takes
    async with polling(identity), asyncio.timeout(120):
        with pytest.raises(StoreUnavailable):
            await identity.revocations.until_trusted(3600)


async def test_only_what_is_late_is_read_again_and_what_is_dropped_goes_in_time(
    identity: Identity, other_node: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, entries = identity.revocations, identity.revocations._list
    keys = [(await identity.keys.add(f"k{n}", Role.WORKER, created_by="user:ana"))[0] for n in range(3)]
    await identity.keys.revoke(keys[0].id)
    await other_node.keys.revoke(keys[1].id)
    # Long ago, so that it is not among the late ones.
    assert here._latest is not None
    await entries.update_one({"name": keys[0].id}, {"$set": {"at": here._latest - OVERLAP - OVERLAP}})
    await other_node.keys.revoke(keys[2].id)
    which: list[dict[str, Any]] = []
    read = here._entries

    async def watched(asked: dict[str, Any]) -> Any:
        which.append(asked)
        return await read(asked)

    monkeypatch.setattr(here, "_entries", watched)
    await here.look()
    assert which == [{"at": {"$gte": which[0]["at"]["$gte"]}}]
    assert here.revoked.keys == {key.id for key in keys}
    await entries.delete_one({"name": keys[0].id})
    here._again_at = here._whole_at = 0.0
    await here.look()
    assert which[1:] == [{}]
    assert here.revoked.keys == {key.id for key in keys[1:]}


async def test_a_revocation_is_kept_for_longer_than_what_it_speaks_of(identity: Identity) -> None:
    """And no longer: a flood of logouts must not push those of service tokens out."""
    lives = {SESSION: HOUR, USER: HOUR, KEY: timedelta(milliseconds=BELIEVED_MS), TOKEN: SERVICE_TTL_MAX}
    (bounds,) = (one for one in AuthSettings.model_fields["access_token_ttl"].metadata if isinstance(one, Duration))
    assert bounds.high == HOUR
    for kind, life in lives.items():
        assert life + timedelta(minutes=30) <= KEPT[kind] <= life + timedelta(minutes=90)


async def test_a_revocation_between_look_up_and_memory_is_not_missed(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, text = await identity.keys.add("shop", Role.WORKER, created_by="user:ana")
    verify = identity.keys.verify

    async def slow(credential: bytes) -> Any:
        verified = await verify(credential)
        await identity.keys.revoke(key.id)
        return verified

    monkeypatch.setattr(identity.keys, "verify", slow)
    with pytest.raises(Unauthenticated):
        await identity.gate.authenticate(text.encode())
    assert identity.gate.known(text.encode()) is None


async def test_a_key_has_a_role_queues_and_an_end(identity: Identity, clock: Clock) -> None:
    until = clock.now_ms() + 3_600_000
    key, text = await identity.keys.add("shop", Role.USER, created_by="user:ana", queues=("mail",), expires_at=until)
    principal = await identity.gate.authenticate(text.encode())
    assert (principal.id, principal.role, principal.queues) == (f"key:{key.id}", Role.USER, frozenset({"mail"}))
    clock.forward(HOUR)
    assert identity.gate.known(text.encode()) is None
    with pytest.raises(TokenExpired):
        await identity.gate.authenticate(text.encode())
    with pytest.raises(InvalidUser):
        await identity.keys.add("late", Role.USER, created_by="user:ana", expires_at=until)


async def test_a_key_is_looked_up_again_after_a_while(identity: Identity, clock: Clock) -> None:
    _, text = await identity.keys.add("shop", Role.USER, created_by="user:ana")
    await identity.gate.authenticate(text.encode())
    clock.forward(timedelta(milliseconds=BELIEVED_MS))
    assert identity.gate.known(text.encode()) is None
    await identity.gate.authenticate(text.encode())


async def test_when_a_key_was_used_is_written_for_all_keys_at_once(identity: Identity, clock: Clock) -> None:
    key, text = await identity.keys.add("shop", Role.USER, created_by="user:ana")
    await identity.gate.authenticate(text.encode())
    assert (await identity.keys.get(key.id)).last_used_at is None
    clock.forward(HOUR)
    await identity.gate.authenticate(text.encode())
    used_at = clock.now_ms()
    await identity.gate.write_used()
    last = (await identity.keys.get(key.id)).last_used_at
    assert last is not None
    assert used_at - 60_000 <= last <= used_at


async def test_a_wrong_key_is_refused_like_one_that_is_not_there(identity: Identity) -> None:
    key, text = await identity.keys.add("shop", Role.USER, created_by="user:ana")
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    for credential in (wrong, text.replace(key.id, 16 * "0"), f"hgm_{key.id}_", "hgm_"):
        with pytest.raises(Unauthenticated) as refused:
            await identity.gate.authenticate(credential.encode())
        assert str(refused.value) == str(Unauthenticated())
    await identity.keys.revoke(key.id)
    for missing in (key.id, "../x", ""):
        with pytest.raises(KeyNotFound):
            await identity.keys.get(missing)


async def test_the_memory_is_bounded_and_keeps_what_is_used(identity: Identity) -> None:
    identity.gate._cache_max = 10
    kept = service(identity)
    await identity.gate.authenticate(kept)
    for _ in range(30):
        await identity.gate.authenticate(service(identity))
        assert identity.gate.known(kept) is not None
    assert len(identity.gate._cache) == 10


def test_a_ring_of_one_secret_does_not_take_tokens_of_another() -> None:
    assert signing.from_secrets(SIGNING).find(signing.from_secrets(OTHER).signing.kid) is None
