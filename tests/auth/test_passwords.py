"""Passwords: what they cost, who waits, and which are refused."""

import asyncio
import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher

from hegemon.auth.errors import InvalidUser, LoginsBusy
from hegemon.auth.passwords import Cost, Passwords, check, generated
from tests.auth.parts import CHEAP, PASSWORD
from tests.waiting import wait_until


async def test_a_password_is_verified_against_its_hash_and_no_other() -> None:
    passwords = Passwords(CHEAP)
    encoded = await passwords.hash(PASSWORD)
    assert encoded.startswith("$argon2id$")
    assert PASSWORD not in encoded
    assert await passwords.verify(encoded, PASSWORD)
    assert not await passwords.verify(encoded, PASSWORD + " ")
    assert not await passwords.verify("no hash", PASSWORD)
    assert await passwords.hash(PASSWORD) != encoded
    passwords.close()


async def test_the_real_cost_is_argon2id_with_64_mib() -> None:
    passwords = Passwords()
    encoded = await passwords.hash(PASSWORD)
    assert encoded.startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    assert await passwords.verify(encoded, PASSWORD)
    passwords.close()


class Counted(PasswordHasher):
    """Remembers against which hashes it verified."""

    def __init__(self) -> None:
        super().__init__(CHEAP.passes, CHEAP.memory_kib, CHEAP.lanes)
        self.worked: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - its name there
        self.worked.append(str(hash))
        return super().verify(hash, password)


async def test_a_user_that_is_not_there_is_refused_by_the_same_work() -> None:
    passwords = Passwords(CHEAP)
    counted = passwords._hasher = Counted()
    encoded = await passwords.hash(PASSWORD)
    assert not await passwords.verify(encoded, "wrong")
    assert not await passwords.verify(None, "wrong")
    theirs, nobodys = counted.worked
    assert theirs == encoded != nobodys
    assert theirs.split("$")[1:4] == nobodys.split("$")[1:4]
    passwords.close()


async def test_a_hash_of_another_cost_is_stale() -> None:
    passwords, dearer = Passwords(CHEAP), Passwords(Cost(memory_kib=16, passes=1, lanes=1))
    encoded = await passwords.hash(PASSWORD)
    assert not passwords.stale(encoded)
    assert dearer.stale(encoded)
    passwords.close()
    dearer.close()


async def test_more_logins_than_the_queue_holds_are_turned_away_at_once() -> None:
    passwords = Passwords(CHEAP, waiting_max=3)
    gate = threading.Event()
    blocked = passwords._thread.submit(gate.wait)
    waiting = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(LoginsBusy) as refused:
        await passwords.hash(PASSWORD)
    assert refused.value.code == "overloaded"
    assert refused.value.retry_after_s
    gate.set()
    await asyncio.gather(*waiting)
    blocked.result()
    await wait_until(lambda: passwords._waiting == 0, message="the queue to be empty")
    await passwords.hash(PASSWORD)
    passwords.close()


async def test_a_caller_who_leaves_stays_in_the_queue_until_the_thread_is_done_with_it() -> None:
    passwords = Passwords(CHEAP, waiting_max=1)
    gate = threading.Event()
    blocked = passwords._thread.submit(gate.wait)
    gone = asyncio.create_task(passwords.hash(PASSWORD))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    gate.set()
    blocked.result()
    await wait_until(lambda: passwords._waiting == 0, message="the queue to be empty")
    passwords.close()


@pytest.mark.parametrize("password", ["elevenchars", "1" * 40, "123456789012", "Password1234", "abab" * 5, "x" * 1025])
def test_what_everybody_tries_first_is_no_password(password: str) -> None:
    with pytest.raises(InvalidUser) as refused:
        check(password)
    assert refused.value.field == "password"
    assert password not in str(refused.value)


def test_the_users_own_name_is_no_password() -> None:
    with pytest.raises(InvalidUser):
        check("ana-von-elbe-ana-von-elbe-", user="ana-von-elbe-")


def test_passwords_that_are_made_up_are_good_ones() -> None:
    made = {generated() for _ in range(100)}
    assert len(made) == 100
    for one in made:
        check(one)
