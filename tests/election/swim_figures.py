"""SWIM's figures at LAN values, simulated: how fast a join is seen by all, how fast a death, and how many false deaths.

`python -m tests.election.swim_figures [ROUNDS]` prints them as a table; the tests take a few rounds, the soak many.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from statistics import median, quantiles

from hegemon.election.contract import Health, Member
from hegemon.election.swim import Swim
from tests.election.swim_network import Network

LEAD_S = 10.0  # after the first join; the news of the others' joining has settled then


def group(size: int, *, seed: int, loss: float, kind: type[Swim] = Swim) -> Network[Swim]:
    """A group that knows itself, with each introduced to the first alone."""
    net: Network[Swim] = Network(lambda me, rng: kind(me, rng=rng), seed=seed, loss=loss)
    for number in range(size):
        net.start(Member(f"n{number:03}"))
        if number:
            net.introduce(f"n{number:03}", "n000")
    assert net.run(60.0, until=lambda: all(len(swim.live) == size - 1 for swim in net.each()))
    net.run(LEAD_S)
    return net


def join_s(net: Network[Swim]) -> float:
    """How long until all see one that joins by any one of them."""
    begun = net.now
    name = f"x{net.events}"  # nobody has had it
    net.start(Member(name))
    net.introduce(name, net.random.choice([other for other in net.nodes if other != name]))
    size = len(net.nodes)
    others = [swim for node, swim in net.nodes.items() if node != name]
    assert net.run(30.0, until=lambda: len(others[0].live) == size - 1 and all(s.member(name) for s in others))
    return net.now - begun


def death_s(net: Network[Swim]) -> float:
    """How long until all hold one for dead that is killed."""
    begun = net.now
    name = net.random.choice(list(net.nodes))
    net.kill(name)
    others = list(net.each())

    def seen() -> bool:
        return all((known := swim.member(name)) is not None and known.health is Health.DEAD for swim in others)

    assert net.run(90.0, until=seen)
    return net.now - begun


def false_deaths(net: Network[Swim]) -> int:
    """How many hold one for dead that runs."""
    return sum(m.health is Health.DEAD and m.id in net.nodes for swim in net.each() for m in swim.members)


def watched_false_deaths(net: Network[Swim], for_s: float) -> int:
    """The same, looked at each second for so long."""
    found = 0
    for _ in range(int(for_s)):
        net.run(1.0)
        found += false_deaths(net)
    return found


@dataclass(frozen=True)
class Figures:
    """Seconds, over all rounds; deaths of the living, as seen by anybody."""

    joins: list[float]
    deaths: list[float]
    false: int

    @property
    def death_p99(self) -> float:
        return quantiles(self.deaths, n=100, method="inclusive")[98]

    def table(self) -> str:
        return "\n".join(
            [
                f"| join seen by all, max of {len(self.joins)} | {max(self.joins):.2f} s |",
                f"| kill -9 detected by all, p50 of {len(self.deaths)} | {median(self.deaths):.2f} s |",
                f"| kill -9 detected by all, p99 | {self.death_p99:.2f} s |",
                f"| false deaths | {self.false} |",
            ]
        )


def measure(rounds: int, *, size: int = 100, loss: float = 0.01, seed: int = 1) -> Figures:
    """So many joins and deaths, ten of each to a network."""
    joins: list[float] = []
    deaths: list[float] = []
    false = 0
    seeds = random.Random(seed)
    while len(deaths) < rounds:
        net = group(size, seed=seeds.randrange(1 << 30), loss=loss)
        for _ in range(min(10, rounds - len(deaths))):
            joins.append(join_s(net))
            net.run(5.0 * net.random.random())
            deaths.append(death_s(net))
            net.run(5.0 * net.random.random())
            false += false_deaths(net)
    return Figures(joins, deaths, false)


def lossy_false_deaths(seed: int, *, size: int = 50, loss: float = 0.05, for_s: float = 120.0) -> int:
    """Deaths of the living in a group that loses much, for two minutes."""
    return watched_false_deaths(group(size, seed=seed, loss=loss), for_s)


if __name__ == "__main__":
    shown = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    sys.stdout.write(f"{measure(shown).table()}\n")
    sys.stdout.write(f"| false deaths, 50 nodes, 5% loss, 120 s | {sum(map(lossy_false_deaths, range(10)))} |\n")
