"""Refresh tokens: each is good once, a repetition gets the same answer, a copy ends the session."""

import asyncio
from datetime import timedelta

import pytest

from hegemon.auth.errors import InvalidCredentials, TokenExpired, Unauthenticated
from hegemon.auth.identity import Identity
from hegemon.auth.logins import Issued
from hegemon.auth.roles import Role
from hegemon.auth.sessions import REPEAT_S, Reused
from hegemon.auth.users import UserChange
from tests.auth.parts import PASSWORD, Clock

LATER = timedelta(seconds=REPEAT_S + 1)


@pytest.fixture
async def issued(identity: Identity) -> Issued:
    await identity.users.add("ana", PASSWORD, Role.USER)
    return await identity.logins.login("ana", PASSWORD)


async def test_every_refresh_gives_another_token_and_keeps_the_session(identity: Identity, issued: Issued) -> None:
    seen = {issued.refresh_token}
    current = issued
    for _ in range(5):
        current = await identity.logins.refresh(current.refresh_token)
        assert current.session == issued.session
        assert current.refresh_token not in seen
        seen.add(current.refresh_token)
    assert (await identity.gate.authenticate(current.access_token.encode())).session == issued.session


async def test_a_repeated_refresh_whose_answer_was_lost_gets_the_same_token(identity: Identity, issued: Issued) -> None:
    first = await identity.logins.refresh(issued.refresh_token)
    again = await identity.logins.refresh(issued.refresh_token)
    assert again.refresh_token == first.refresh_token
    await identity.logins.refresh(first.refresh_token)


async def test_refreshes_at_the_same_time_all_get_the_same_token(
    identity: Identity, other_node: Identity, issued: Issued
) -> None:
    nodes = (identity, other_node) * 4
    answers = await asyncio.gather(*(node.logins.refresh(issued.refresh_token) for node in nodes))
    assert len({answer.refresh_token for answer in answers}) == 1


async def test_a_used_token_that_comes_again_ends_the_session_for_thief_and_owner(
    identity: Identity, other_node: Identity, issued: Issued, clock: Clock
) -> None:
    owner = await identity.logins.refresh(issued.refresh_token)
    await identity.gate.authenticate(owner.access_token.encode())
    clock.forward(LATER)
    with pytest.raises(Reused):
        await other_node.logins.refresh(issued.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.logins.refresh(owner.refresh_token)
    await identity.revocations.look()
    assert identity.gate.known(owner.access_token.encode()) is None
    with pytest.raises(Unauthenticated):
        await identity.gate.authenticate(owner.access_token.encode())


async def test_a_token_of_long_ago_ends_the_session_too(identity: Identity, issued: Issued) -> None:
    current = issued
    for _ in range(4):
        current = await identity.logins.refresh(current.refresh_token)
    with pytest.raises(Reused):
        await identity.logins.refresh(issued.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.logins.refresh(current.refresh_token)


async def test_a_guess_at_a_session_does_not_end_it(identity: Identity, issued: Issued, clock: Clock) -> None:
    clock.forward(LATER)
    forged = issued.refresh_token[:-64] + 64 * "0"
    for wrong in (forged, issued.refresh_token[:-1], "", "hgr_", issued.access_token):
        with pytest.raises(Unauthenticated) as refused:
            await identity.logins.refresh(wrong)
        assert not isinstance(refused.value, Reused)
    await identity.logins.refresh(issued.refresh_token)


async def test_a_session_that_nobody_refreshes_expires(identity: Identity, issued: Issued, clock: Clock) -> None:
    clock.forward(timedelta(days=6))
    current = await identity.logins.refresh(issued.refresh_token)
    clock.forward(timedelta(days=6))
    current = await identity.logins.refresh(current.refresh_token)
    clock.forward(timedelta(days=7))
    with pytest.raises(TokenExpired):
        await identity.logins.refresh(current.refresh_token)


async def test_the_database_holds_nothing_that_could_be_sent(identity: Identity, issued: Issued) -> None:
    await identity.logins.refresh(issued.refresh_token)
    _, text = await identity.keys.add("shop", Role.WORKER, created_by="user:ana")
    database = identity.users._users.database
    secret_parts = (issued.refresh_token[-64:], text.split("_", 2)[2], PASSWORD)
    for name in await database.list_collection_names():
        async for document in database[name].find():
            for part in secret_parts:
                assert part not in str(document)
                assert part.encode().hex() not in str(document)


@pytest.mark.parametrize("change", [UserChange(disabled=True), UserChange(role=Role.VIEWER)])
async def test_a_changed_user_cannot_refresh(identity: Identity, issued: Issued, change: UserChange) -> None:
    await identity.users.change("ana", change)
    with pytest.raises(Unauthenticated):
        await identity.logins.refresh(issued.refresh_token)


async def test_logout_ends_the_callers_session_and_that_of_the_token_that_was_sent(
    identity: Identity, issued: Issued
) -> None:
    other = await identity.logins.login("ana", PASSWORD)
    caller = await identity.gate.authenticate(issued.access_token.encode())
    await identity.logins.logout(caller, refresh_token=other.refresh_token)
    for one in (issued, other):
        assert identity.gate.known(one.access_token.encode()) is None
        with pytest.raises(Unauthenticated):
            await identity.gate.authenticate(one.access_token.encode())
        with pytest.raises(Unauthenticated):
            await identity.logins.refresh(one.refresh_token)


async def test_a_stranger_cannot_log_somebody_out_by_the_name_of_their_session(
    identity: Identity, issued: Issued
) -> None:
    await identity.users.add("eve", PASSWORD, Role.USER)
    eve = await identity.gate.authenticate((await identity.logins.login("eve", PASSWORD)).access_token.encode())
    with pytest.raises(Unauthenticated):
        await identity.logins.logout(eve, refresh_token=issued.refresh_token[:-64] + 64 * "a")
    await identity.logins.refresh(issued.refresh_token)


async def test_a_new_password_ends_every_session(identity: Identity, issued: Issued) -> None:
    caller = await identity.gate.authenticate(issued.access_token.encode())
    with pytest.raises(InvalidCredentials):
        await identity.logins.change_password(caller, "wrong", "a bridge of nine arches")
    await identity.logins.change_password(caller, PASSWORD, "a bridge of nine arches")
    with pytest.raises(Unauthenticated):
        await identity.gate.authenticate(issued.access_token.encode())
    with pytest.raises(Unauthenticated):
        await identity.logins.refresh(issued.refresh_token)
    with pytest.raises(InvalidCredentials):
        await identity.logins.login("ana", PASSWORD)
    await identity.logins.login(" Ana ", "a bridge of nine arches")


@pytest.mark.parametrize(("name", "password"), [("ana", "wrong"), ("nobody", PASSWORD), ("", ""), ("ana", "")])
async def test_wrong_is_wrong_in_the_same_words(identity: Identity, issued: Issued, name: str, password: str) -> None:
    with pytest.raises(InvalidCredentials) as refused:
        await identity.logins.login(name, password)
    assert str(refused.value) == str(InvalidCredentials())
