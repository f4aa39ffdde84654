"""Asking the nodes of a cluster, each for itself and all at once, with little patience: some of them may be dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from hegemon.cli.exits import ExitCode, Stop, for_refusal, for_silence
from hegemon.cli.session import credentials, wrong_option
from hegemon.client import ApiError, AsyncClient, Client, Unreachable
from hegemon.client.calls import Call

State = dict[str, Any]
PATIENCE_S: Final = 0.8
# Whoever begins to watch waits rather than be told that nobody is there.
FIRST_PATIENCE_S: Final = 5.0


def urls_in(state: State) -> list[str]:
    """Every URL at which a node answers, as far as the replies of nodes, election and leader tell."""
    election = state.get("election") or {}
    found = [node.get("url") for node in state.get("nodes") or ()]
    found += [member.get("url") for member in election.get("members") or ()]
    found.append((state.get("leader") or {}).get("url"))
    return list(dict.fromkeys(url.rstrip("/") for url in found if url))


async def views(urls: Iterable[str]) -> dict[str, State | None]:
    """What each node itself says of the election; None for one that does not answer."""
    wanted = list(urls)
    answers = await asyncio.gather(*(_view(url) for url in wanted))
    return dict(zip(wanted, answers, strict=True))


def views_now(urls: Iterable[str]) -> dict[str, State | None]:
    """`views`, for who has no event loop."""
    return asyncio.run(views(urls))


async def _view(url: str) -> State | None:
    try:
        async with AsyncClient(url, timeout=PATIENCE_S, retry_for=0, **credentials(url)) as client:
            return await client.election()
    except (ApiError, Unreachable, ValueError):
        return None


async def state_from(
    urls: Sequence[str], patience_s: float | None = None, more: Mapping[str, Call[Any]] = MappingProxyType({})
) -> tuple[str, State] | None:
    """The state as the first of these nodes that answers has it, with its URL and the answers to `more`; None if none
    does. ApiError when those that answer refuse the credential or the role (401, 403)."""
    refused: ApiError | None = None
    for url in urls:
        try:
            timeout_s = PATIENCE_S if patience_s is None else patience_s
            async with AsyncClient(url, timeout=timeout_s, retry_for=0, **credentials(url)) as client:
                names = ("cluster", "leader", "election", "nodes", "stats", *more)
                others = (client.send(call) for call in more.values())
                answers = await asyncio.gather(
                    client.cluster(), client.leader(), client.election(), client.nodes(), client.stats(), *others
                )
                return url, dict(zip(names, answers, strict=True))
        except ApiError as error:
            if error.status in (401, 403):
                refused = refused or error
        except (Unreachable, ValueError):
            continue
    if refused is not None:
        raise refused
    return None


def why_silent(url: str) -> Stop:
    """What one more look says."""
    try:
        with Client(url, retry_for=0, **credentials(url)) as client:
            client.cluster()
    except ApiError as error:
        return for_refusal(error)
    except Unreachable as error:
        return for_silence(error)
    except ValueError as error:
        return wrong_option(error)
    return Stop(ExitCode.UNAVAILABLE, f"{url} did not answer in time. Try again.")
