"""A check that cannot fail is a defect: the judge turns red when a safeguard is switched off, and stays green with it.

The same load and the same faults run twice on real processes, once with the safeguard and once without (`sabotage`).
"""

import asyncio
from pathlib import Path

import pytest

from tests.faults.trial import Trial
from tests.judge.verdict import ORDER_SLACK_NS, Verdict
from tests.nodes import ROOT
from tests.waiting import wait_until

STARTUP = Path(__file__).parent / "startup"
# A sweep comes when a dead node's lease of 1 s has run out. Without one nothing will ever come, and nobody need wait.
WAIT_S, VAIN_S = 60.0, 8.0


def without(sabotage: str) -> dict[str, str]:
    """Environment for a start with this safeguard switched off; none for ""."""
    return {"PYTHONPATH": f"{STARTUP}:{ROOT}", "SABOTAGE": sabotage} if sabotage else {}


async def outcome(trial: Trial, *, ordered: bool = False, wait_s: float = WAIT_S) -> Verdict:
    """The verdict after everything had its time, whatever it is."""
    await trial.settled(wait_s)
    return trial.verdict(ordered=ordered)


@pytest.mark.parametrize(("sabotage", "found"), [("", set()), ("no-sweep", {"stuck"})])
async def test_i1_what_a_dead_submitter_did_not_index_is_swept(trial: Trial, sabotage: str, found: set[str]) -> None:
    await trial.start(without("slow-index"))
    ids = await trial.offer_many([{"type": "journaled"}] * 20) + [await trial.offer("journaled")]
    assert all(ids)
    await trial.node.kill()
    assert trial.marks() == []
    await trial.start(without(sabotage))
    verdict = await outcome(trial, wait_s=VAIN_S if sabotage else WAIT_S)
    assert verdict.kinds == found, f"{verdict}\n{trial.node.log[-3000:]}"
    assert verdict.live == (len(ids) if sabotage else 0)


@pytest.mark.parametrize(("sabotage", "found"), [("", set()), ("acknowledge-first", {"missing"})])
async def test_i1_an_acknowledgement_means_that_the_document_is_durable(
    trial: Trial, sabotage: str, found: set[str]
) -> None:
    await trial.start(without(sabotage))
    for _ in range(10):
        assert await trial.offer("journaled")
    await trial.node.kill()
    await trial.node.start()
    verdict = await outcome(trial)
    assert verdict.kinds == found, f"{verdict}\n{trial.node.log[-3000:]}"


@pytest.mark.parametrize("sabotage", ["", "index-unread"])
async def test_i4_what_has_completed_is_not_indexed_again(trial: Trial, sabotage: str) -> None:
    # The worker dies when its completions are recorded and not yet acknowledged: it still holds those jobs.
    await trial.start({"HEGEMON_FAILPOINTS": "finish.after_write=kill", **without(sabotage)})
    await trial.offer_many([{"type": "journaled"}] * 8)
    await wait_until(trial.deaths, message="the worker to die")
    if sabotage:
        await wait_until(lambda: "started_beyond" in trial.verdict(settled=False).kinds, message="a start too many")
    verdict = await outcome(trial, wait_s=VAIN_S if sabotage else WAIT_S)
    assert ("started_beyond" in verdict.kinds) == bool(sabotage), f"{verdict}\n{trial.node.log[-3000:]}"
    # Also seen from outside if somebody had looked before the second run; and what had not been recorded never is.
    assert verdict.kinds - {"started_beyond"} <= ({"started_after", "stuck"} if sabotage else set()), verdict


@pytest.mark.parametrize(
    ("sabotage", "found"), [("", set()), ("lowest-first", {"overtaken"}), ("newest-first", {"overtaken"})]
)
async def test_i6_higher_priority_first_and_fifo_within_one(trial: Trial, sabotage: str, found: set[str]) -> None:
    trial.node.environment["WORKER_COUNT"] = "1"
    await trial.start(without(sabotage))
    # It fills the only slot until the others have arrived, and waited for longer than the judge's slack.
    await trial.offer("journaled", {"gate": trial.gate})
    await trial.started()
    for number in range(12):
        assert await trial.offer("journaled", {"seconds": 0.03}, priority=(1, 5, 9)[number % 3])
    await asyncio.sleep(2 * ORDER_SLACK_NS / 1e9)
    trial.open_gate()
    verdict = await outcome(trial, ordered=True)
    assert verdict.kinds == found, f"{verdict}\n{trial.node.log[-3000:]}"
    assert verdict.completed == 13
