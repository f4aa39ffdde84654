"""What a kind of event is, and the fields that several kinds have in common.

A field holds a name, a number or a word of our own: never a secret, a payload, a result or a handler's message.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta


class Severity(StrEnum):
    """How much an event matters: `warning` deserves a look, `error` an action or at least an explanation."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


INFO, WARNING, ERROR = Severity


class DomainEvent(msgspec.Struct, frozen=True):
    """Something that happened. `by` says who emits it."""

    kind: ClassVar[str]
    severity: ClassVar[Severity] = INFO
    by: ClassVar[str]


Count = Annotated[int, Meta(description="how many jobs")]
Duration = Annotated[float, Meta(description="for how long, in seconds")]
Epoch = Annotated[int, Meta(description="epoch of the office")]
Generation = Annotated[int, Meta(description="generation of the index")]
Incarnation = Annotated[str, Meta(description="the node's incarnation")]
JobId = Annotated[str, Meta(description="the job's id")]
JobType = Annotated[str, Meta(description="the job's type")]
LeftOut = Annotated[int, Meta(description="how many like it were not told since the last one")]
Member = Annotated[str, Meta(description="NODE_ID of the node that this is about")]
Operation = Annotated[str, Meta(description="the API's operation, by its name in the description")]
Queue = Annotated[str, Meta(description="the job's queue")]
Reason = Annotated[str, Meta(description="why, in words")]
Term = Annotated[int, Meta(description="term of the election")]
Try = Annotated[int, Meta(description="number of the attempt")]
WorkerId = Annotated[str, Meta(description="the worker process, by its incarnation")]
