"""`hegemon election demo`: leaders are killed under load, each failover is shown step by step, and then the jobs are
counted."""

from __future__ import annotations

import time

from hegemon.cli import election_screens
from hegemon.cli.exits import ExitCode, Stop
from hegemon.cli.output import emit
from hegemon.cli.tables import cell
from hegemon.cli.up_screen import Screen
from hegemon.cluster.election_trial import LOAD_PER_S, trial


async def demo(algorithm: str, nodes: int, kills: int, *, secure: bool = False) -> None:
    """Run it, with logins and TLS if it is to be `secure`. Stop(FAILED) unless every acknowledged job was completed
    exactly once; what `trial` raises."""
    screen = Screen(spinner=True)
    async with trial(algorithm, nodes, screen, secure=secure) as running:
        screen.wait_for("the nodes are choosing a leader")
        leader = await running.steady()
        screen.quiet()
        how = f"{nodes} nodes, {algorithm}" + (", with logins and TLS" if secure else "")
        emit("", cell(f"{how}: {leader.plan.id} leads. {LOAD_PER_S:g} jobs a second.", "bold"))
        for number in range(1, kills + 1):
            screen.wait_for(f"kill {number} of {kills}")
            done = await running.end_leader(number)
            screen.quiet()
            emit("", cell(f"kill {number} of {kills}", "bold"), *election_screens.timeline(done))
            began = time.monotonic()
            screen.wait_for(f"{done.leader} is coming back")
            await running.revive()
            leader = await running.steady()
            screen.quiet()
            emit(cell(f"{done.leader} is back after {time.monotonic() - began:.1f} s; {leader.plan.id} leads."))
        screen.wait_for("the last jobs are ending")
        await running.load.stop()
        verdict = await running.verdict()
        screen.quiet()
        emit("", *election_screens.verdict(verdict))
        screen.wait_for("stopping")
    screen.quiet()
    if not verdict.holds:
        raise Stop(ExitCode.FAILED, "Hegemon broke its promise: a job was lost, or run again after it was recorded.")
