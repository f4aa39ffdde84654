"""Each safeguard is switched off by itself: the simulation then fails, and the same seed with it does not."""

from __future__ import annotations

import pytest

from tests.simulation.runs import simulated, told

SEEDS = 30  # within which the absence must show; the first is one that shows it today
# Safeguard, where it is missed (algorithm, scenario, first seed), and what its absence comes to. What one elector alone
# can show stands in tests/election, and why a vote by itself must outlive a crash in tests/cluster: see this package's
# docstring.
SAFEGUARDS = [
    ("fence", "solo", "storm", 1, {"stale_write"}),
    ("majority", "solo", "mongo", 1, {"missing", "two_holders", "epoch_fell", "undone"}),
    ("run_id", "solo", "redis", 1, {"started_after", "stale_write", "started_twice"}),
    ("lease", "solo", "pauses", 1, {"started_late"}),
    ("quorum", "raft", "elections", 1, {"two_leaders"}),
    ("vote-persistence", "raft", "disks", 3, {"two_leaders"}),
    ("recorded-term", "raft", "most_disks_lost", 1, {"term_fell"}),
    ("recorded-term", "raft", "votes_lost", 1, {"two_leaders"}),
    ("stickiness", "raft", "returns", 1, {"needless"}),
    ("stickiness", "gossip", "returns", 1, {"needless"}),
    ("refutation", "gossip", "suspected", 1, {"unrefuted"}),
    ("indirect-probes", "gossip", "one_link", 1, {"false_suspicion"}),
]


@pytest.mark.parametrize(("safeguard", "algorithm", "scenario", "first", "kinds"), SAFEGUARDS)
def test_without_a_safeguard_a_simulated_cluster_fails_and_with_it_does_not(
    safeguard: str, algorithm: str, scenario: str, first: int, kinds: set[str]
) -> None:
    which = ("--algorithm", algorithm, "--scenario", scenario, "--seed")
    without = simulated(*which, first, "--seeds", SEEDS, "--without", safeguard, "--until-found", *sorted(kinds))
    assert without[-1].kinds & kinds, (
        f"{len(without)} seeds without {safeguard}, and the last found {without[-1].kinds}"
    )
    same = simulated(*which, without[-1].seed)
    assert not told(same), told(same)


def test_the_command_that_replays_a_run_names_the_safeguard_that_was_off() -> None:
    which = ("--algorithm", "raft", "--scenario", "votes_lost", "--seed", 1, "--seconds", 1)
    (report,) = simulated(*which, "--without", "recorded-term")
    assert report.violations
    _, _, _, *again = report.command.removesuffix(" --trace").split()
    (same,) = simulated(*again)
    assert (same.digest, same.violations) == (report.digest, report.violations)
