"""What handlers ask about the caller: its scope, its queues, and the node's identities behind the operations around
users and keys.
"""

from __future__ import annotations

from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.api.resource import Node
from hegemon.auth.identity import Identity
from hegemon.queue.errors import JobNotFound

IDENTITY = "identity"


def principal(call: Call) -> str:
    """The caller's scope: idempotency keys belong to it, and jobs are stored under it."""
    return call.principal.id


def may_submit(call: Call, queue: str, field: str = "queue") -> None:
    """ApiError `forbidden` when jobs of this queue are not the caller's business."""
    if not call.principal.may_use(queue):
        raise ApiError("forbidden", f"the caller may not submit to the queue {queue}", field=field)


async def may_touch(node: Node, call: Call, job_id: str) -> None:
    """JobNotFound for a job of a queue that is not the caller's: it is as if it were not there. A job's queue never
    changes, so what is seen here still holds when the job is acted upon."""
    if call.principal.queues is not None and not call.principal.may_use((await node.jobs.get(job_id)).queue):
        raise JobNotFound


def identity(node: Node) -> Identity:
    """The node's identities. ApiError `not_found` where authentication is off: there are none."""
    found = node.services.get(IDENTITY)
    if not isinstance(found, Identity):
        raise ApiError("not_found", "authentication is off on this node (AUTH_ENABLED=false)")
    return found
