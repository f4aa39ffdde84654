"""The trial of elections, as `hegemon election bench` runs it, where a leader is told to stop instead of killed."""

import os
import signal

import pytest

from hegemon.cluster import election_trial
from hegemon.cluster.election_trial import trial
from tests.nodes import ROOT
from tests.waiting import PATIENCE_S


class Silent:
    """Listens to a cluster and says nothing."""

    def starting(self, part: str) -> None: ...

    def ready(self, part: str, seconds: float) -> None: ...

    def said(self, sentence: str) -> None: ...


async def test_a_leader_that_is_told_to_stop_hands_over_and_no_job_of_its_runs_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for patience in ("STEADY_WITHIN_S", "DISPATCH_WITHIN_S", "RECORDED_WITHIN_S"):
        monkeypatch.setattr(election_trial, patience, PATIENCE_S)
    # A machine that is busy with other things must not look like a dead node.
    settings = {"WORKER_LEASE": "60s"}
    async with trial("bully", 2, Silent(), settings=settings, load_per_s=20.0, job_s=0.05) as running:
        await running.steady()
        done = await running.end_leader(1, signal.SIGTERM)
        assert (done.how, done.successor != done.leader) == ("SIGTERM", True)
        assert done.epoch_after > done.epoch_before
        # MongoDB, which no handler writes to, knows of the same start.
        assert done.recorded_s is not None
        assert 0 < done.recorded_s < done.dispatched_s + 1
        leader = next(node for node in running.cluster.nodes if node.plan.id == done.leader)
        assert await leader.wait() == os.EX_OK
        await running.load.stop()
        verdict = await running.verdict()
    assert verdict.holds, verdict
    assert verdict.completed >= 1
    assert verdict.repeated == 0, verdict
