"""`python -m tests.judge`: the balance of a run, from its journals and its database. Exit code 1 for any violation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.judge.records import Evidence, Truth, read_acks, read_marks
from tests.judge.verdict import judge


def main() -> int:
    """Read, judge, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.judge", description=__doc__)
    parser.add_argument("--acks", type=Path, required=True, help="the submitter's journal of acknowledgements")
    parser.add_argument(
        "--journal", type=Path, action="append", default=[], help="a handlers' journal; may be repeated"
    )
    parser.add_argument("--mongodb", required=True, help="URI")
    parser.add_argument("--database", required=True)
    parser.add_argument("--settled", action="store_true", help="everything had the time to end: what lives is stuck")
    parser.add_argument("--ordered", action="store_true", help="one slot: starts must be in the order of dispatch")
    given = parser.parse_args()
    with Truth(given.mongodb, given.database) as truth:
        evidence = Evidence(
            acks=read_acks(given.acks),
            marks=[mark for path in given.journal for mark in read_marks(path)],
            records=truth.records(),
            removed=truth.removed(),
        )
    verdict = judge(evidence, settled=given.settled, ordered=given.ordered)
    sys.stdout.write(f"{verdict}\n")
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
