"""Where to ask who is there, and when. Pure: the time goes in, the places that are due come out.

======================================  =================================================================
a place                                 is asked
======================================  =================================================================
that never answered                     at once, then after 0.1 s, doubling to 2 s, with jitter
whose node is heard and lately proven   not before that ends (SILENT_S, RENEW_S)
whose node is silent                    as one that never answered
that turned out to be our own           again after 30 s: who plays our frames back must not silence us
that was only learned from a peer       no more after 600 s of silence; a place that was introduced: for ever
======================================  =================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hegemon.election.contract import Randomness

FIRST_S: Final = 0.1
LAST_S: Final = 2.0
OWN_S: Final = 30.0
FORGET_S: Final = 600.0
PLACES_MAX: Final = 2048


@dataclass(slots=True)
class Place:
    """An address. `node` is who answered there last, or who is said to be there; `number` names it in a HELLO."""

    number: int
    address: str
    node: str | None
    introduced: bool
    ask_at: float
    answered_at: float
    pause_s: float = FIRST_S


class Places:
    """All places of one node. `ask_at` tells from when on a node wants to be asked."""

    def __init__(self, ask_at: Callable[[str], float], rng: Randomness) -> None:
        self._ask_at = ask_at
        self._rng = rng
        self._by_address: dict[str, Place] = {}
        self._by_number: dict[int, Place] = {}
        self._last = 0

    def add(self, address: str, node: str | None, now: float, *, introduced: bool) -> bool:
        """Know of a place; one that is known only learns more. False if there are too many."""
        place = self._by_address.get(address)
        if place is not None:
            place.introduced |= introduced
            if place.node is None or not introduced:
                place.node = node or place.node
            return True
        if len(self._by_address) >= PLACES_MAX:
            return False
        self._last += 1
        place = Place(self._last, address, node, introduced, now, now)
        self._by_address[address] = self._by_number[place.number] = place
        return True

    def remove(self, address: str) -> None:
        """Ask there no more."""
        place = self._by_address.pop(address, None)
        if place is not None:
            del self._by_number[place.number]

    def address_of(self, node: str) -> str | None:
        """Where a node is said to be."""
        return next((place.address for place in self._by_address.values() if place.node == node), None)

    def answered(self, number: int, node: str, now: float) -> None:
        """The node that proved itself in answer to the HELLO for this place."""
        place = self._by_number.get(number)
        if place is not None:
            place.node, place.answered_at, place.ask_at = node, now, now

    def own(self, number: int, now: float) -> None:
        """Our own HELLO came back, or our own NODE_ID answered: there is no peer to be had there."""
        place = self._by_number.get(number)
        if place is not None:
            place.ask_at = now + OWN_S

    def due(self, now: float) -> list[Place]:
        """The places to ask now; each is then due again after its pause."""
        found = []
        for place in list(self._by_address.values()):
            if place.ask_at > now:
                continue
            wanted = now if place.node is None else self._ask_at(place.node)
            if wanted > now:
                # The jitter makes one of two peers renew the proofs of both.
                place.pause_s, place.answered_at = FIRST_S, now
                place.ask_at = wanted + self._rng.random()
            elif not place.introduced and now - place.answered_at > FORGET_S:
                self.remove(place.address)
            else:
                found.append(place)
                place.ask_at = now + place.pause_s * (0.75 + 0.5 * self._rng.random())
                place.pause_s = min(2 * place.pause_s, LAST_S)
        return found

    def deadline(self) -> float | None:
        """When `due` has something to look at; None if there is no place."""
        return min((place.ask_at for place in self._by_address.values()), default=None)
