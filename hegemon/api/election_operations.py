"""The election over HTTP: what a node believes, what the algorithms are good for, and asking a leader to step down."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hegemon.api import examples, parameters
from hegemon.api.call import Call
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, encode, ok
from hegemon.api.resource import Node
from hegemon.api.views import with_moment
from hegemon.cluster.algorithm_guide import GUIDE, Advice, advice
from hegemon.cluster.ports import ElectionInfo

ELECTION: Final = "/api/v1/election"
PAUSE_S_DEFAULT: Final = 10.0
PAUSE_S_MAX: Final = 3600.0


class StepDown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, in seconds, the leader does not stand for election after it has stepped down."""

    pause: Annotated[float, msgspec.Meta(ge=0, le=PAUSE_S_MAX)] = PAUSE_S_DEFAULT


_STEP_DOWN: Final = msgspec.json.Decoder(StepDown)


async def election(node: Node, call: Call) -> Reply:
    """GET /api/v1/election"""
    call.query(frozenset())
    return ok(_shown(node.observer.election()))


async def algorithm(node: Node, call: Call) -> Reply:
    """GET /api/v1/election/algorithms/{name}"""
    name = call.path_value("name")
    nodes = parameters.nodes(call.query(frozenset({"nodes"})))
    if name not in GUIDE:
        raise ApiError("not_found", f"there is no such algorithm; known are {', '.join(GUIDE)}")
    return ok(advice(name, nodes or max(len(node.observer.election().members), 1)))


async def step_down(node: Node, call: Call) -> Reply:
    """POST /api/v1/election/step-down"""
    call.query(frozenset())
    # A bare POST means the defaults; whoever sends a body sends JSON.
    bare = call.header(b"transfer-encoding") is None and call.header(b"content-length") in (None, "0")
    wanted = StepDown() if bare else await call.json(_STEP_DOWN, code="invalid_parameter")
    call.note(pause=f"{wanted.pause:g} s")
    if await node.observer.step_down(wanted.pause):
        return Reply(202, encode(_shown(node.observer.election())))
    leader = await node.observer.leader()
    if leader.leader_id is None:
        detail = "this node does not lead, and nobody holds the office just now"
    else:
        detail = f"this node does not lead; ask {leader.leader_id}" + (f" at {leader.url}" if leader.url else "")
    raise ApiError("not_leader", detail, extensions={"leader_id": leader.leader_id, "leader_url": leader.url})


def _shown(info: ElectionInfo) -> ElectionInfo:
    return msgspec.structs.replace(info, last_changes=[with_moment(change) for change in info.last_changes])


OPERATIONS: Final = (
    Operation(
        "GET",
        ELECTION,
        "getElection",
        "election",
        "What this node believes about leadership",
        election,
        (Answer(200, "Its belief.", ElectionInfo, examples.ELECTION),),
        problems=("invalid_parameter", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        f"{ELECTION}/algorithms/{{name}}",
        "getAlgorithm",
        "election",
        "What an algorithm is good for, and its settings for so many nodes",
        algorithm,
        (Answer(200, "The advice.", Advice, msgspec.to_builtins(advice("raft", 5))),),
        parameters=(parameters.ALGORITHM, parameters.NODES),
        problems=("not_found", "invalid_parameter", *STORE_PROBLEMS),
    ),
    Operation(
        "POST",
        f"{ELECTION}/step-down",
        "stepDown",
        "election",
        "Make the leader hand over, and not stand again for a while",
        step_down,
        (Answer(202, "It stands down; the node's belief after that.", ElectionInfo, examples.STEPPED_DOWN),),
        description="Acts on the leader alone; every other node answers 409 and names it. Without a body the pause is "
        f"{PAUSE_S_DEFAULT:g} seconds. If nobody else can lead, nobody does until the pause is over.",
        problems=(*BODY_PROBLEMS, "invalid_parameter", "not_leader", *STORE_PROBLEMS),
        body=StepDown,
        body_required=False,
        body_examples=examples.STEP_DOWNS,
        audited=True,
    ),
)
