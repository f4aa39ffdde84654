"""Every elector keeps the contract: one line here for each."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from hegemon.election.bully import Bully
from hegemon.election.contract import Timing
from hegemon.election.gossip import Gossip
from hegemon.election.raft import RaftElector
from hegemon.election.solo import Solo
from tests.election.contract_suite import Case, ElectorContract, contract_machine

CASES = [
    Case("solo", lambda me: Solo(me.id), many=False),
    Case("bully", lambda me: Bully(me, timing=Timing())),
    Case("bully without preemption", lambda me: Bully(me, timing=Timing(), preempt=False, expected=0)),
    Case("gossip", lambda me: Gossip(me, timing=Timing(), rng=random.Random(me.id))),
    Case("gossip of three", lambda me: Gossip(me, timing=Timing(), rng=random.Random(me.id), expected=3)),
    Case("raft", lambda me: RaftElector(me, voters=("n1", "n2", "n3"), timing=Timing()), many=False, alone=False),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
class TestContract(ElectorContract):
    pass


@each_case
def test_the_contract_holds_after_any_events_in_any_order(case: Case) -> None:
    run_state_machine_as_test(
        contract_machine(case), settings=settings(max_examples=60 if case.many else 15, stateful_step_count=40)
    )
