"""`python -m tests.simulation --scenario storm --algorithm bully --seed 7 --trace`: run, or replay, simulated clusters.

`--seeds 20` runs so many from `--seed` on; `--json` writes one report a line, for the tests. Each run is the same on
every machine: the hashes of strings, which order sets, are pinned by a start of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable

import msgspec


def main() -> int:
    """0 when nothing was violated."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Ourselves again, with nothing of anybody else's in it.
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606
    from tests.simulation.safeguards import OFF  # noqa: PLC0415 - after the new start
    from tests.simulation.scenarios import ALL, SCENARIOS, simulate, turn  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="simulated clusters")
    parser.add_argument(
        "--scenario", action="append", choices=[*ALL], help="may be given again; default: those of faults"
    )
    parser.add_argument("--algorithm", choices=("solo", "bully", "raft", "gossip"), default="solo")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--in-turn", action="store_true", help="bully, gossip and raft, of 3, 5 and 9, seed by seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--step", type=int, default=1, help="between seeds")
    parser.add_argument("--seconds", type=float, help="how long it lasts, instead of the scenario's own length")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--live", action="store_true", help="also judge that all jobs end and one leader is found")
    parser.add_argument("--long", action="store_true", help="for longer, with outages of up to 30 s")
    parser.add_argument("--without", choices=[*OFF], help="a safeguard to switch off")
    parser.add_argument(
        "--until-found", nargs="*", metavar="KIND", help="stop at the first violation, or of these kinds"
    )
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    failed = False
    for name in told.scenario or SCENARIOS:
        for seed in range(told.seed, told.seed + told.seeds * told.step, told.step):
            algorithm, nodes = turn(name, seed) if told.in_turn else (told.algorithm, told.nodes)
            report = simulate(
                name,
                algorithm,
                seed,
                nodes=nodes,
                trace=told.trace,
                live=told.live,
                long=told.long,
                seconds=told.seconds,
                without=told.without,
            )
            failed |= bool(report.violations)
            if told.json:
                sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
            else:
                say(
                    [
                        *report.lines,
                        f"{name} {algorithm} {nodes} nodes seed {seed}: {report}",
                        *(f"  VIOLATED {v.kind} at {v.at_s} s: {v.detail}" for v in report.violations[:20]),
                        *([f"  replay: {report.command}"] if report.violations else []),
                        f"  {dict(sorted(Counter(report.counts).items()))}" if told.trace else "",
                    ]
                )
            sought = report.kinds & set(told.until_found or report.kinds)
            if sought and told.until_found is not None:
                return 1
    return int(failed)


def say(lines: Iterable[str]) -> None:
    """To whoever looks on."""
    sys.stdout.write("\n".join(filter(None, lines)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
