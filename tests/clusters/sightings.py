"""What an outsider saw of a cluster's leadership, and what of it is unlawful. Pure, so that forgeries can try it.

| violation | invariant | what it says |
|---|---|---|
| two_holders | I2 | two nodes held one epoch, by their own words or by the office's document |
| epoch_fell | I3 | a node, the office's document or the marker in Redis showed an epoch below one that it had shown |
| generation_fell | I3 | the same for the generation of the index |
| unfounded | I3 | the marker showed an epoch that the office had not handed out |
| stale_write | I3 | a leader's script wrote to Redis although the marker was not its own |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

_READS: Final = frozenset(
    b"EXISTS GET HEXISTS HGET HGETALL HKEYS HLEN HMGET HSCAN HVALS LINDEX LLEN LPOS LRANGE SCARD SISMEMBER SMEMBERS"
    b" SMISMEMBER SSCAN TIME TYPE ZCARD ZCOUNT ZRANGE ZRANGEBYSCORE ZRANK ZSCORE".split()
)
# Scripts that may raise the marker's epoch; all others of a leader need it to be exactly theirs.
_RAISING: Final = frozenset({"office_take", "rebuild_state"})


class Violation(msgspec.Struct, frozen=True):
    """One sentence that does not hold."""

    kind: str
    detail: str


class Sighting(msgspec.Struct, frozen=True):
    """What a node said of itself, between two moments. `life` counts its starts; `held`: it has the office."""

    node: str
    life: int
    asked_s: float
    at_s: float
    epoch: int
    term: int
    held: bool
    active: bool
    leader: str | None


class OfficeSeen(msgspec.Struct, frozen=True):
    """The office's document as the majority has it."""

    at_s: float
    epoch: int
    generation: int
    node: str
    nonce: str
    vacant: bool
    term: int


class MarkerSeen(msgspec.Struct, frozen=True):
    """The marker in Redis; `office_epoch` is what the office's document said right after it was read."""

    at_s: float
    epoch: int
    generation: int
    office_epoch: int


def unlawful(
    sightings: Iterable[Sighting], offices: Sequence[OfficeSeen], markers: Sequence[MarkerSeen]
) -> list[Violation]:
    """Everything that may never be seen, each kind once a node and epoch. Each argument is in the order of sight."""
    return [
        *_holders(sightings := list(sightings), offices),
        *_falls(sightings, offices, markers),
        *(
            Violation("unfounded", f"the marker has epoch {seen.epoch}, the office {seen.office_epoch}")
            for seen in markers
            if seen.epoch > seen.office_epoch
        ),
    ]


def _holders(sightings: Iterable[Sighting], offices: Iterable[OfficeSeen]) -> Iterator[Violation]:
    holders: dict[int, set[tuple[str, int]]] = {}
    nonces: dict[int, set[tuple[str, str]]] = {}
    for seen in sightings:
        if seen.held:
            holders.setdefault(seen.epoch, set()).add((seen.node, seen.life))
    for office in offices:
        nonces.setdefault(office.epoch, set()).add((office.node, office.nonce))
    for epoch, who in sorted(holders.items()):
        recorded = {node for node, _ in nonces.get(epoch, set())}
        if len(who) > 1 or (recorded and {node for node, _ in who} != recorded):
            yield Violation("two_holders", f"epoch {epoch}: held by {sorted(who)}, recorded as {sorted(recorded)}'s")
    for epoch, taken in sorted(nonces.items()):
        if epoch and len(taken) > 1:
            yield Violation("two_holders", f"epoch {epoch}: recorded as {sorted(taken)}'s")


def _falls(
    sightings: Iterable[Sighting], offices: Sequence[OfficeSeen], markers: Sequence[MarkerSeen]
) -> Iterator[Violation]:
    shown: dict[str, list[int]] = {}
    for seen in sightings:
        # 0 is "none known yet", as right after a start or a flush.
        if seen.epoch:
            shown.setdefault(f"{seen.node}, life {seen.life}", []).append(seen.epoch)
    shown["the office"] = [office.epoch for office in offices]
    shown["the marker"] = [marker.epoch for marker in markers if marker.epoch]
    yield from (Violation("epoch_fell", detail) for detail in _drops(shown))
    generations = {
        "the office": [office.generation for office in offices],
        "the marker": [marker.generation for marker in markers if marker.epoch],
    }
    yield from (Violation("generation_fell", detail) for detail in _drops(generations))


def _drops(shown: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for who, numbers in shown.items():
        for before, after in itertools.pairwise(numbers):
            if after < before:
                yield f"{who}: {before}, then {after}"


class Fence:
    """Reads the lines of Redis's MONITOR: a leader's script that writes must carry exactly the marker's epoch.

    `scripts` is name by SHA of all scripts that carry an epoch as their first argument. `applied` counts those that
    wrote, `refused` those that were called under an epoch below the marker's and wrote nothing.
    """

    def __init__(self, prefix: str, scripts: Mapping[str, str]) -> None:
        self._prefix = prefix.encode()
        self._marker = f"{prefix}marker".encode()
        self._scripts = {sha.encode(): name for sha, name in scripts.items()}
        # None: not known. 0: there is none.
        self.epoch: int | None = None
        self._called: tuple[str, int] | None = None
        self._before: int | None = None
        self._wrote = False
        self.applied = 0
        self.refused = 0
        self.violations: list[Violation] = []

    def lost_sight(self) -> None:
        """Lines were missed: the marker is whatever the next writer finds."""
        self._end()
        self.epoch, self._called = None, None

    def line(self, line: bytes) -> None:
        """One line, without its end."""
        if b" lua] " in line:
            if self._called is not None or self._marker in line:
                self._inside(_words(line))
            return
        self._end()
        self._called = None
        if self._prefix in line or b'"flush' in line.lower():
            self._command(_words(line))

    def _command(self, words: Sequence[bytes]) -> None:
        name = words[0].upper()
        if name in (b"FLUSHALL", b"FLUSHDB") or (name in (b"DEL", b"UNLINK") and self._marker in words):
            self.epoch = 0
        elif name == b"EVALSHA" and words[1] in self._scripts and words[3] == self._prefix:
            self._called = (self._scripts[words[1]], int(words[4]))
            self._before, self._wrote = self.epoch, False

    def _inside(self, words: Sequence[bytes]) -> None:
        if words[0].upper() in _READS:
            return
        if self._called is not None and not self._wrote:
            self._wrote = True
            self._judge(*self._called)
        if words[0].upper() == b"HSET" and words[1] == self._marker and b"epoch" in words[2::2]:
            self.epoch = int(words[words.index(b"epoch") + 1])

    def _judge(self, script: str, epoch: int) -> None:
        self.applied += 1
        if self._before is None:
            self.epoch = epoch
            return
        right = epoch >= self._before if script in _RAISING else epoch == self._before
        if not right:
            self.violations.append(
                Violation("stale_write", f"{script} of epoch {epoch} wrote under the marker of {self._before}")
            )

    def _end(self) -> None:
        """The call is over: did it pass?"""
        if self._called is not None and not self._wrote and self._before and self._called[1] < self._before:
            self.refused += 1


def _words(line: bytes) -> list[bytes]:
    """The arguments in a line of MONITOR; quotes within an argument are escaped, and of no interest here."""
    return line.split(b"] ", 1)[1].strip(b'"').split(b'" "')
