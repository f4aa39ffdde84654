"""A handler with one argument of each kind, for what is made from type hints: lists, forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from hegemon import job


@dataclass
class Address:
    """Where somebody lives."""

    street: str
    number: int = 1


@job("shaped", max_retries=7, timeout=90)
async def shaped(
    title: Annotated[str, "What it is called."],
    size: Annotated[int, Meta(ge=1, le=10, description="How large.")] = 3,
    how: Literal["fast", "slow"] = "fast",
    urgent: bool = False,
    names: list[str] | None = None,
    address: Address | None = None,
    anything: Any = None,
) -> dict[str, Any]:
    """Takes one of everything.

    And gives it back.
    """
    lives = None if address is None else {"street": address.street, "number": address.number}
    given = {"title": title, "size": size, "how": how, "urgent": urgent, "names": names}
    return {**given, "address": lives, "anything": anything}
