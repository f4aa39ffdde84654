"""Jobs over HTTP: submit, look, wait, cancel, retry, delete. Submit and look are the hot ones: decode, call, encode."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hegemon.api import parameters
from hegemon.api.call import Call
from hegemon.api.examples import BATCH, ID, JOB, JOB_DONE, SUBMISSIONS
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.principal import may_submit, may_touch, principal
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, encode, ok
from hegemon.api.resource import Node
from hegemon.api.views import Accepted, AcceptedBatch, JobPageView, JobView, job_view, page_view
from hegemon.cluster.ports import JobFilter, Submitted
from hegemon.queue.errors import InvalidJob, JobNotFound, QueueError
from hegemon.queue.ids import is_id
from hegemon.queue.jobs import NewJob
from hegemon.queue.states import Status

JOBS: Final = "/api/v1/jobs"
REPLAYED: Final = (b"idempotency-replayed", b"true")


class NewJobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch: all of its jobs are accepted, or none."""

    jobs: Annotated[list[NewJob], msgspec.Meta(min_length=1)]


_NEW_JOB: Final = msgspec.json.Decoder(NewJob)
_NEW_JOBS: Final = msgspec.json.Decoder(NewJobs)
_SUBMISSION: Final = (
    parameters.IDEMPOTENCY_KEY,
    parameters.REQUEST_ID,
    parameters.TRACEPARENT,
    parameters.TRACESTATE,
)
_NO_PARAMETERS: Final[frozenset[str]] = frozenset()
_LIST_PARAMETERS: Final = frozenset({"status", "type", "queue", "tag", "limit", "cursor"})


async def submit(node: Node, call: Call) -> Reply:
    """POST /api/v1/jobs"""
    call.query(_NO_PARAMETERS)
    key = parameters.idempotency_key(call)
    job = await call.json(_NEW_JOB, code="invalid_job")
    may_submit(call, job.queue)
    submitted = await node.jobs.submit(job, scope=principal(call), idempotency_key=key, provenance=call.provenance())
    body = encode(Accepted(submitted.id, await _status(node, job, submitted)))
    location = (b"location", f"{JOBS}/{submitted.id}".encode())
    if submitted.created:
        return Reply(201, body, headers=(location,))
    return Reply(200, body, headers=(location, REPLAYED))


async def _status(node: Node, job: NewJob, submitted: Submitted) -> str:
    """The state to show for a job that is accepted already: whatever fails from here on may not fail the request."""
    if submitted.created and job.scheduled_at is None:
        return Status.SCHEDULED if job.delay else Status.PENDING
    try:
        return (await node.jobs.get(submitted.id)).status
    except QueueError:
        return Status.PENDING if job.scheduled_at is None else Status.SCHEDULED


async def submit_batch(node: Node, call: Call) -> Reply:
    """POST /api/v1/jobs/batch"""
    call.query(_NO_PARAMETERS)
    key = parameters.idempotency_key(call)
    batch = await call.json(_NEW_JOBS, code="invalid_job")
    for place, job in enumerate(batch.jobs):
        may_submit(call, job.queue, f"jobs[{place}].queue")
    submitted = await node.jobs.submit_batch(
        batch.jobs, scope=principal(call), idempotency_key=key, provenance=call.provenance()
    )
    body = encode(AcceptedBatch(submitted.ids))
    return Reply(201, body) if submitted.created else Reply(200, body, headers=(REPLAYED,))


async def get_job(node: Node, call: Call) -> Reply:
    """GET /api/v1/jobs/{id}"""
    call.query(_NO_PARAMETERS)
    job = await node.jobs.get(_job_id(call))
    if not call.principal.may_use(job.queue):
        raise JobNotFound
    return ok(job_view(job))


async def list_jobs(node: Node, call: Call) -> Reply:
    """GET /api/v1/jobs"""
    query = call.query(_LIST_PARAMETERS)
    which = JobFilter(
        status=parameters.status(query),
        type=parameters.name(query, "type"),
        queue=parameters.name(query, "queue"),
        tag=parameters.tag(query),
    )
    return await list_page(node, call, which, query)


async def list_page(node: Node, call: Call, which: JobFilter, query: dict[str, str]) -> Reply:
    """A page of `which` as far as it is the caller's business, by the query's `limit` and `cursor`."""
    if call.principal.queues is not None:
        which = msgspec.structs.replace(which, queues=call.principal.queues)
    limit, cursor = parameters.limit(query), parameters.cursor(query)
    try:
        page = await node.jobs.list(which, limit=limit, cursor=cursor)
    except InvalidJob as error:
        # What is wrong is a parameter (the cursor): there is no job here that could be.
        raise ApiError("invalid_parameter", str(error), field=error.field) from error
    return ok(page_view(page))


async def delete_job(node: Node, call: Call) -> Reply:
    """DELETE /api/v1/jobs/{id}"""
    call.query(_NO_PARAMETERS)
    await node.jobs.delete(await _own_job(node, call))
    return Reply(204)


async def cancel_job(node: Node, call: Call) -> Reply:
    """POST /api/v1/jobs/{id}/cancel"""
    call.query(_NO_PARAMETERS)
    return ok(job_view(await node.jobs.cancel(await _own_job(node, call))))


async def retry_job(node: Node, call: Call) -> Reply:
    """POST /api/v1/jobs/{id}/retry"""
    call.query(_NO_PARAMETERS)
    return ok(job_view(await node.jobs.retry(await _own_job(node, call))))


async def wait_for_job(node: Node, call: Call) -> Reply:
    """GET /api/v1/jobs/{id}/wait"""
    timeout_s = parameters.timeout_s(call.query({"timeout"}))
    waiting = node.jobs.wait(await _own_job(node, call), timeout_s=timeout_s)
    return ok(job_view(await call.unless_client_leaves(waiting)))


async def _own_job(node: Node, call: Call) -> str:
    job_id = _job_id(call)
    await may_touch(node, call, job_id)
    return job_id


def _job_id(call: Call) -> str:
    job_id = call.path_value("id")
    if not is_id(job_id):
        raise JobNotFound
    return job_id


_LOCATION: Final = {"Location": "The job's path."}
_REPLAYED: Final = {"Idempotency-Replayed": "`true`."}
_KEY_PROBLEMS: Final = ("idempotency_key_reused", "idempotency_key_in_flight")
_ONE: Final = (parameters.JOB_ID,)
_ONE_PROBLEMS: Final = ("job_not_found", "invalid_parameter", *STORE_PROBLEMS)
_CHANGE_PROBLEMS: Final = (*_ONE_PROBLEMS, "job_state_conflict", "outcome_unknown")
_SUBMIT_PROBLEMS: Final = (
    *BODY_PROBLEMS,
    "invalid_job",
    "invalid_parameter",
    "payload_too_large",
    "queue_full",
    "overloaded",
    "outcome_unknown",
    *STORE_PROBLEMS,
)

OPERATIONS: Final = (
    Operation(
        "POST",
        JOBS,
        "submitJob",
        "jobs",
        "Submit a job",
        submit,
        (
            Answer(
                201, "The job is stored for good and will run.", Accepted, {"id": ID, "status": "pending"}, _LOCATION
            ),
            Answer(
                200,
                "This Idempotency-Key was used before with the same body: this is the job of then.",
                Accepted,
                {"id": ID, "status": "completed"},
                {**_LOCATION, **_REPLAYED},
            ),
        ),
        "Answered once the job is durable: from then on it survives the crash of any process.",
        _SUBMISSION,
        (*_SUBMIT_PROBLEMS, *_KEY_PROBLEMS),
        NewJob,
        SUBMISSIONS,
    ),
    Operation(
        "POST",
        f"{JOBS}/batch",
        "submitBatch",
        "jobs",
        "Submit many jobs, all or none",
        submit_batch,
        (
            Answer(201, "All jobs are stored.", AcceptedBatch, {"ids": [ID]}),
            Answer(
                200,
                "This Idempotency-Key was used before with the same body: these are the jobs of then.",
                AcceptedBatch,
                {"ids": [ID]},
                _REPLAYED,
            ),
        ),
        "One wrong job refuses the batch; `field` says which, as `jobs[3].priority`. The key stands for the whole "
        "batch and is kept as long as its first job.",
        parameters=_SUBMISSION,
        problems=(*_SUBMIT_PROBLEMS, *_KEY_PROBLEMS, "batch_too_large"),
        body=NewJobs,
        body_examples=BATCH,
    ),
    Operation(
        "GET",
        JOBS,
        "listJobs",
        "jobs",
        "List jobs, newest first",
        list_jobs,
        (Answer(200, "A page of jobs.", JobPageView, {"jobs": [JOB], "next_cursor": None}),),
        parameters=(
            parameters.STATUS,
            parameters.TYPE,
            parameters.QUEUE,
            parameters.TAG,
            parameters.LIMIT,
            parameters.CURSOR,
        ),
        problems=("invalid_parameter", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        f"{JOBS}/{{id}}",
        "getJob",
        "jobs",
        "Look at a job",
        get_job,
        (Answer(200, "The job.", JobView, JOB),),
        parameters=_ONE,
        problems=_ONE_PROBLEMS,
    ),
    Operation(
        "DELETE",
        f"{JOBS}/{{id}}",
        "deleteJob",
        "jobs",
        "Remove a job that has ended",
        delete_job,
        (Answer(204, "It is gone.", None),),
        "A live job is refused with 409: cancel it first.",
        _ONE,
        _CHANGE_PROBLEMS,
        audited=True,
    ),
    Operation(
        "POST",
        f"{JOBS}/{{id}}/cancel",
        "cancelJob",
        "jobs",
        "Cancel a live job, a running one too",
        cancel_job,
        (Answer(200, "The job.", JobView, {**JOB, "status": "cancelled"}),),
        parameters=_ONE,
        problems=_CHANGE_PROBLEMS,
        audited=True,
    ),
    Operation(
        "POST",
        f"{JOBS}/{{id}}/retry",
        "retryJob",
        "jobs",
        "Run a failed or cancelled job again, with fresh tries",
        retry_job,
        (Answer(200, "The job, pending again.", JobView, JOB),),
        parameters=_ONE,
        problems=_CHANGE_PROBLEMS,
        audited=True,
    ),
    Operation(
        "GET",
        f"{JOBS}/{{id}}/wait",
        "waitForJob",
        "jobs",
        "Wait until a job has ended",
        wait_for_job,
        (Answer(200, "The job: ended, or as it is when the time is up.", JobView, JOB_DONE),),
        parameters=(*_ONE, parameters.TIMEOUT),
        problems=_ONE_PROBLEMS,
    ),
)
