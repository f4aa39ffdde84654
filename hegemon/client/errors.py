"""What a client can be told: the node said no (`ApiError`), nobody answered (`Unreachable`), the wait was too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hegemon.client.views import JobInfo


class ClientError(Exception):
    """Root of everything that the client raises about an exchange. Wrong arguments are ValueError and TypeError.

    `request_id` names the request in the node's log, None where nothing was asked.
    """

    request_id: str | None = None


class ApiError(ClientError):
    """The node answered with a problem (RFC 9457), or with something that is no answer of a Hegemon node.

    `status` is the HTTP status, `code` the stable name of the problem, `field` the part of the request at fault,
    `retry_after` seconds after which asking again may help; the last two may be None. `uncertain` says whether the
    request, or an earlier try of it, may have been carried out all the same; if `idempotency_key` is set then,
    submitting the same job again with it is safe.
    """

    uncertain: bool = False
    idempotency_key: str | None = None

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after = retry_after


class Unreachable(ClientError):
    """No answer came: no connection, a lost one, or too slow.

    `sent` says whether the request, in one of its tries, may have reached the node and been carried out. If
    `idempotency_key` is set, submitting the same job again with it is safe.
    """

    def __init__(self, url: str, reason: str, *, sent: bool, idempotency_key: str | None = None) -> None:
        text = f"no answer from {url}: {reason}"
        if sent and idempotency_key is not None:
            text += f"; submit again with idempotency_key={idempotency_key!r} to get one job"
        super().__init__(text)
        self.url = url
        self.reason = reason
        self.sent = sent
        self.idempotency_key = idempotency_key


class WaitTimeout(ClientError, TimeoutError):
    """The job had not ended when the time was up. `job` is its last known state; it goes on running."""

    def __init__(self, job: JobInfo) -> None:
        super().__init__(f"job {job.id} is still {job.status}")
        self.job = job
