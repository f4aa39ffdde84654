"""Dead letters over HTTP: failed jobs, listed, put back or removed in bulk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec

from hegemon.api import parameters
from hegemon.api.call import Call
from hegemon.api.examples import JOB_FAILED, SELECTIONS
from hegemon.api.job_operations import list_page
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.api.views import Count, JobPageView
from hegemon.cluster.ports import DeadFilter, JobFilter
from hegemon.queue.ids import is_id
from hegemon.queue.jobs import Name
from hegemon.queue.states import Status

DEAD: Final = "/api/v1/dead"
IDS_MAX: Final = 1000


class DeadSelection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which dead letters: `ids`, or `type` and/or `queue`, or `all: true`. Ids of no dead letters are passed over."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=IDS_MAX)] | None = None
    type: Name | None = None
    queue: Name | None = None
    all: bool = False


_SELECTION: Final = msgspec.json.Decoder(DeadSelection)
_LIST_PARAMETERS: Final = frozenset({"type", "queue", "limit", "cursor"})


async def list_dead(node: Node, call: Call) -> Reply:
    """GET /api/v1/dead"""
    query = call.query(_LIST_PARAMETERS)
    which = JobFilter(
        status=Status.FAILED.value, type=parameters.name(query, "type"), queue=parameters.name(query, "queue")
    )
    return await list_page(node, call, which, query)


async def requeue_dead(node: Node, call: Call) -> Reply:
    """POST /api/v1/dead/requeue"""
    return await _act(call, node.jobs.requeue_dead)


async def purge_dead(node: Node, call: Call) -> Reply:
    """POST /api/v1/dead/purge"""
    return await _act(call, node.jobs.purge_dead)


async def _act(call: Call, action: Callable[[DeadFilter], Awaitable[int]]) -> Reply:
    call.query(frozenset())
    which = _filter(await call.json(_SELECTION, code="invalid_parameter"))
    if call.principal.queues is not None:
        which = msgspec.structs.replace(which, queues=call.principal.queues)
    # No id of the list could be one: the port would take an empty list for "any".
    if which.ids is not None and not which.ids:
        return ok(Count(0))
    chosen = {name: value for name in ("type", "queue") if (value := getattr(which, name)) is not None}
    call.note(target=" ".join(which.ids or ()) or " ".join(chosen.values()) or "all", **chosen)
    count = await action(which)
    call.note(count=count)
    return ok(Count(count))


def _filter(selection: DeadSelection) -> DeadFilter:
    by_name = selection.type is not None or selection.queue is not None
    ways = (selection.ids is not None) + by_name + selection.all
    if ways == 0:
        raise ApiError(
            "invalid_parameter",
            'say which: "ids", or "type" and/or "queue"; if you mean every dead letter, "all": true',
        )
    if ways > 1:
        raise ApiError("invalid_parameter", 'say it one way: "ids", or "type" and/or "queue", or "all": true')
    if selection.ids is not None:
        return DeadFilter(ids=[job_id for job_id in dict.fromkeys(selection.ids) if is_id(job_id)])
    return DeadFilter(type=selection.type, queue=selection.queue)


_ACT_PROBLEMS: Final = (*BODY_PROBLEMS, "invalid_parameter", "outcome_unknown", *STORE_PROBLEMS)

OPERATIONS: Final = (
    Operation(
        "GET",
        DEAD,
        "listDead",
        "dead letters",
        "List failed jobs, newest first, with why they failed",
        list_dead,
        (Answer(200, "A page of failed jobs.", JobPageView, {"jobs": [JOB_FAILED], "next_cursor": None}),),
        parameters=(parameters.TYPE, parameters.QUEUE, parameters.LIMIT, parameters.CURSOR),
        problems=("invalid_parameter", *STORE_PROBLEMS),
    ),
    Operation(
        "POST",
        f"{DEAD}/requeue",
        "requeueDead",
        "dead letters",
        "Run failed jobs again, with fresh tries",
        requeue_dead,
        (Answer(200, "How many were put back.", Count, {"count": 12}),),
        problems=_ACT_PROBLEMS,
        body=DeadSelection,
        body_examples=SELECTIONS,
        audited=True,
    ),
    Operation(
        "POST",
        f"{DEAD}/purge",
        "purgeDead",
        "dead letters",
        "Remove failed jobs for good",
        purge_dead,
        (Answer(200, "How many were removed.", Count, {"count": 12}),),
        problems=_ACT_PROBLEMS,
        body=DeadSelection,
        body_examples=SELECTIONS,
        audited=True,
    ),
)
