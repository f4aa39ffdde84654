"""Every row of the crash table: a real process is killed at that line, on real stores, and everything goes on.

What was acknowledged comes to its end; what was not may have either outcome, but no third one; nothing starts after its
completion is recorded; nothing stays stuck.
"""

import signal

import pytest

from hegemon.failpoints import NAMES
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.trial import Trial
from tests.waiting import wait_until


def test_every_failpoint_has_a_scenario() -> None:
    assert {scenario.name for scenario in SCENARIOS} == NAMES


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
async def test_a_process_killed_at_this_line_loses_nothing(scenario: Scenario, trial: Trial) -> None:
    await scenario.before(trial)
    trial.node.spawn(HEGEMON_FAILPOINTS=f"{scenario.name}=kill@{scenario.count}")
    if not scenario.at_start:
        await trial.node.until_ready()
        await scenario.load(trial)
    if scenario.victim == "control":
        code = await trial.node.ended()
        assert code == -signal.SIGKILL, f"the node was not killed at its failpoint: {code}\n{trial.node.log[-3000:]}"
        await trial.node.start()
    else:
        await wait_until(trial.deaths, message="a worker to die at its failpoint")
    await scenario.after(trial)
    trial.open_gate()
    verdict = await trial.clear_verdict()
    assert verdict.accepted + verdict.unacknowledged > 0
    await scenario.then(trial)
