"""Whatever the description allows to ask, the answer is one that it describes, and never a 500, as each role."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hegemon.auth.roles import Role
from tests.api.schema_walk import walk, walk_along
from tests.api.secured import Secured, served
from tests.conftest import MongoServer


@pytest.fixture(scope="module")
def secured(mongo_server: MongoServer, server_loop: Any) -> Iterator[Secured]:
    with served(server_loop, mongo_server.uri, f"walk_{time.time_ns()}") as opened:
        yield opened


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_every_operation_answers_as_described(secured: Secured, role: str) -> None:
    assert walk(secured, role, 6 if role == "admin" else 2) > 50


def test_chains_of_operations_answer_as_described(secured: Secured) -> None:
    assert walk_along(secured, "admin", examples=3, steps=8) >= 8


@pytest.mark.soak
@pytest.mark.parametrize("role", [role.value for role in Role])
def test_every_operation_answers_as_described_however_often_it_is_asked(secured: Secured, role: str) -> None:
    examples = int(os.environ.get("SOAK_EXAMPLES", "300"))
    assert walk(secured, role, examples) > 50
    assert walk_along(secured, role, examples=max(examples // 6, 1), steps=30) >= 30
