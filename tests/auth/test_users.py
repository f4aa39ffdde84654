"""Users: the first of them, changes that void what was issued before, and the last admin."""

import asyncio
from datetime import timedelta

import pytest

from hegemon.auth.errors import InvalidCredentials, InvalidUser, PreconditionFailed, UserExists, UserNotFound
from hegemon.auth.identity import Identity
from hegemon.auth.roles import Role
from hegemon.auth.users import UserChange
from hegemon.queue.errors import StoreUnavailable
from tests.auth.parts import OPTIONS, PASSWORD, Clock, open_identity
from tests.conftest import MongoServer


async def test_the_first_admin_has_the_password_of_the_settings(identity: Identity) -> None:
    (admin,) = await identity.users.list()
    assert (admin.name, admin.role) == ("admin", Role.ADMIN)
    assert OPTIONS.admin_password is not None
    await identity.logins.login("admin", OPTIONS.admin_password)


async def test_a_password_that_was_made_up_is_shown_by_one_node_and_never_again(
    mongo_server: MongoServer, database: str, clock: Clock
) -> None:
    shown: list[str] = []
    async with (
        open_identity(mongo_server.uri, database + "x", clock=clock) as one,
        open_identity(mongo_server.uri, database + "x", clock=clock) as two,
    ):
        await one.users._users.delete_many({})
        one._options = two._options = OPTIONS.__class__(cluster_id="test", secret=OPTIONS.secret, cost=OPTIONS.cost)
        await asyncio.gather(*(node.prepare(shown.append) for node in (one, two) for _ in range(3)))
        await two.prepare(shown.append)
        assert len(shown) == 1
        await two.logins.login("admin", shown[0])
        await one.users._users.database.client.drop_database(database + "x")


async def test_a_change_voids_the_tokens_of_before_and_needs_the_version_that_was_seen(identity: Identity) -> None:
    users = identity.users
    ana = await users.add("ana", PASSWORD, Role.USER)
    with pytest.raises(UserExists):
        await users.add("ana", PASSWORD, Role.USER)
    changed = await users.change("ana", UserChange(role=Role.VIEWER, queues=("mail", "mail")), version=ana.version)
    assert (changed.role, changed.queues) == (Role.VIEWER, ("mail",))
    assert changed.version > ana.version
    assert identity.revocations.revoked.users["ana"] == changed.version
    for late in (
        users.change("ana", UserChange(disabled=True), version=ana.version),
        users.remove("ana", version=ana.version),
    ):
        with pytest.raises(PreconditionFailed):
            await late
    assert await users.get("ana") == changed


async def test_a_user_who_comes_back_under_an_old_name_is_above_the_old_revocations(
    identity: Identity, clock: Clock
) -> None:
    users = identity.users
    await users.add("ana", PASSWORD, Role.USER)
    await users.remove("ana")
    with pytest.raises(UserNotFound):
        await users.get("ana")
    removed_at = identity.revocations.revoked.users["ana"]
    clock.forward(timedelta(milliseconds=1))
    assert (await users.add("ana", PASSWORD, Role.USER)).version >= removed_at


async def test_the_last_admin_stays(identity: Identity) -> None:
    users = identity.users
    for change in (UserChange(role=Role.USER), UserChange(disabled=True)):
        with pytest.raises(InvalidUser, match="last admin"):
            await users.change("admin", change)
    with pytest.raises(InvalidUser, match="last admin"):
        await users.remove("admin")
    await users.add("root", PASSWORD, Role.ADMIN)
    await users.change("admin", UserChange(disabled=True))
    with pytest.raises(InvalidUser, match="last admin"):
        await users.remove("root")


async def test_two_admins_who_take_each_other_away_at_once_do_not_both_succeed(
    identity: Identity, other_node: Identity
) -> None:
    for round_ in range(5):
        name = f"root{round_}"
        await identity.users.add(name, PASSWORD, Role.ADMIN)
        both = (
            identity.users.change("admin", UserChange(role=Role.USER)),
            other_node.users.change(name, UserChange(disabled=True)) if round_ % 2 else other_node.users.remove(name),
        )
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, (InvalidUser, StoreUnavailable))]
        assert len([one for one in outcomes if isinstance(one, BaseException)]) == len(refused) >= 1, outcomes
        assert any(one.role is Role.ADMIN and not one.disabled for one in await identity.users.list())
        # As it was before the round: one admin.
        await identity.users.change("admin", UserChange(role=Role.ADMIN))
        if await identity.users.find(name) is not None:
            await identity.users.remove(name)


async def test_an_admin_is_bound_to_no_queues(identity: Identity) -> None:
    with pytest.raises(InvalidUser):
        await identity.users.add("root", PASSWORD, Role.ADMIN, ("mail",))
    await identity.users.add("ana", PASSWORD, Role.USER, ("mail",))
    with pytest.raises(InvalidUser):
        await identity.users.change("ana", UserChange(role=Role.ADMIN))
    await identity.users.change("ana", UserChange(role=Role.ADMIN, queues=None))


@pytest.mark.parametrize("name", ["", "Ana", "-ana", "a b", "a" * 65, "ana\n", "ana/../root", "ána"])
async def test_a_name_is_plain(identity: Identity, name: str) -> None:
    with pytest.raises(InvalidUser) as refused:
        await identity.users.add(name, PASSWORD, Role.USER)
    assert refused.value.field == "name"
    assert await identity.users.find(name) is None


async def test_a_password_that_is_verified_is_stored_at_todays_cost(identity: Identity) -> None:
    ana = await identity.users.add("ana", PASSWORD, Role.USER)
    dearer = OPTIONS.cost.__class__(memory_kib=16, passes=1, lanes=1)
    identity.passwords.__init__(dearer)  # type: ignore[misc] # the node starts again with another cost
    issued = await identity.logins.login("ana", PASSWORD)
    renewed = await identity.users.get("ana")
    assert "m=16," in renewed.hash
    assert renewed.version == ana.version
    assert (await identity.gate.authenticate(issued.access_token.encode())).id == "user:ana"


async def test_demo_users_are_nobody_on_a_node_that_was_not_told_of_them(
    mongo_server: MongoServer, database: str, clock: Clock
) -> None:
    async with (
        open_identity(mongo_server.uri, database, clock=clock, demo_users=True) as demo,
        open_identity(mongo_server.uri, database, clock=clock) as other,
    ):
        for name, password, role in (("user", "user123", Role.USER), ("worker", "worker123", Role.WORKER)):
            issued = await demo.logins.login(name, password)
            assert issued.role is role
            with pytest.raises(Exception, match="wrong"):
                await other.logins.login(name, password)
            with pytest.raises(Exception, match="credential"):
                await other.logins.refresh(issued.refresh_token)


async def test_a_cluster_that_only_had_demo_users_gets_its_first_admin_from_a_node_without_them(
    mongo_server: MongoServer, database: str, clock: Clock
) -> None:
    async with open_identity(mongo_server.uri, database, clock=clock, demo_users=True) as demo:
        token = (await demo.logins.login("admin", "admin123")).access_token.encode()
        await demo.gate.authenticate(token)
        clock.forward(timedelta(seconds=1))
        async with open_identity(mongo_server.uri, database, clock=clock) as real:
            assert OPTIONS.admin_password is not None
            await real.logins.login("admin", OPTIONS.admin_password)
            for node in (demo, real):
                with pytest.raises(InvalidCredentials):
                    await node.logins.login("admin", "admin123")
            await demo.revocations.look()
            assert demo.gate.known(token) is None
            assert (await real.users.get("admin")).demo is False
