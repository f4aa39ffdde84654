"""What a node says of itself and its cluster: counts, workers, nodes, the leader, health, metrics, problem codes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hegemon.api import examples
from hegemon.api.call import Call
from hegemon.api.operation import STORE_PROBLEMS, Answer, Operation
from hegemon.api.parameters import CODE
from hegemon.api.problems import TABLE, ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.api.views import (
    ClusterView,
    HealthSummary,
    NodeList,
    ProblemKind,
    ProblemKinds,
    TypeList,
    WorkerList,
    node_view,
    type_view,
    worker_view,
)
from hegemon.cluster.ports import Health, LeaderInfo, Stats
from hegemon.election.contract import Health as MemberHealth

_LIVING: Final = frozenset({MemberHealth.ALIVE.value, MemberHealth.SUSPECT.value})


async def stats(node: Node, call: Call) -> Reply:
    """GET /api/v1/stats"""
    call.query(frozenset())
    found = await node.observer.stats()
    principal = call.principal
    if principal.queues is not None:
        mine = [queue for queue in found.figures.queues if principal.may_use(queue.name)]
        found = msgspec.structs.replace(found, figures=msgspec.structs.replace(found.figures, queues=mine))
    return ok(found)


async def workers(node: Node, call: Call) -> Reply:
    """GET /api/v1/workers"""
    call.query(frozenset())
    return ok(WorkerList([worker_view(worker) for worker in await node.observer.workers()]))


async def types(node: Node, call: Call) -> Reply:
    """GET /api/v1/types"""
    call.query(frozenset())
    return ok(TypeList([type_view(one) for one in await node.observer.types()]))


async def nodes(node: Node, call: Call) -> Reply:
    """GET /api/v1/nodes"""
    call.query(frozenset())
    return ok(NodeList([node_view(one) for one in await node.observer.nodes()]))


async def leader(node: Node, call: Call) -> Reply:
    """GET /api/v1/leader"""
    call.query(frozenset())
    return ok(await node.observer.leader())


async def cluster(node: Node, call: Call) -> Reply:
    """GET /api/v1/cluster"""
    call.query(frozenset())
    election = node.observer.election()
    return ok(
        {
            **node.observer.cluster(),
            "leader_id": election.leader_id,
            "epoch": election.epoch,
            "node_count": sum(member.health in _LIVING for member in election.members),
            "members": election.members,
        }
    )


async def livez(node: Node, call: Call) -> Reply:
    """GET /livez"""
    del call  # probes may append what they like, against caches
    return _verdict(await node.observer.live(), "not_live")


async def readyz(node: Node, call: Call) -> Reply:
    """GET /readyz"""
    del call
    return _verdict(await node.observer.ready(), "not_ready")


def _verdict(health: Health, code: str) -> Reply:
    if health.ok:
        return ok(health)
    raise ApiError(code, _wrong(health), extensions={"ok": False, "parts": health.parts})


async def health(node: Node, call: Call) -> Reply:
    """GET /health"""
    del call
    live, ready = await node.observer.live(), await node.observer.ready()
    summary = HealthSummary(live.ok and ready.ok, node.version, live, ready)
    if summary.ok:
        return ok(summary)
    code, first = ("not_ready", ready) if live.ok else ("not_live", live)
    members: dict[str, Any] = msgspec.structs.asdict(summary)
    raise ApiError(code, _wrong(first), extensions=members)


def _wrong(health: Health) -> str | None:
    return "; ".join(f"{part}: {says}" for part, says in health.parts.items() if says != "ok") or None


async def metrics(node: Node, call: Call) -> Reply:
    """GET /metrics"""
    if call.principal.queues is not None:
        # Every series of every queue, in a text that is the same for all who ask.
        raise ApiError("forbidden", "metrics tell of all queues, and the caller is bound to some")
    if node.metrics is None:
        raise ApiError("not_found", "metrics are off; METRICS_ENABLED=true turns them on")
    text, content_type = await node.metrics(call.header(b"accept") or "")
    return Reply(200, text, content_type)


async def problem_kinds(node: Node, call: Call) -> Reply:
    """GET /problems"""
    del node, call
    return ok(ProblemKinds([_kind(code) for code in TABLE]))


async def problem_kind(node: Node, call: Call) -> Reply:
    """GET /problems/{code}"""
    del node
    code = call.path_value("code")
    if code not in TABLE:
        raise ApiError("not_found", "there is no such problem code; /problems lists them")
    return ok(_kind(code))


def _kind(code: str) -> ProblemKind:
    kind = TABLE[code]
    return ProblemKind(code, kind.status, kind.title, kind.explanation)


_ASKED: Final = ("invalid_parameter", *STORE_PROBLEMS)
_V1: Final = "/api/v1"

OPERATIONS: Final = (
    Operation(
        "GET",
        f"{_V1}/stats",
        "getStats",
        "cluster",
        "Jobs by state, what the index holds, and how the cluster is doing: rates, percentiles, queues, nodes",
        stats,
        (
            Answer(
                200,
                "Counts, at most a second old; rates and percentiles of the whole cluster, each node's at most 2 s "
                "old; depths and ages of queues, which the leader looks at every 5 s.",
                Stats,
                examples.STATS,
            ),
        ),
        problems=_ASKED,
    ),
    Operation(
        "GET",
        f"{_V1}/workers",
        "listWorkers",
        "cluster",
        "The worker processes",
        workers,
        (Answer(200, "All of the cluster.", WorkerList, {"workers": [examples.WORKER]}),),
        problems=_ASKED,
    ),
    Operation(
        "GET",
        f"{_V1}/types",
        "listTypes",
        "cluster",
        "The types of jobs, and what their payloads hold",
        types,
        (Answer(200, "What live workers handle.", TypeList, {"types": [examples.TYPE]}),),
        "Each worker tells at its start what its handlers take: the JSON Schema of their type hints, their docstring, "
        "their own limits. It is for people and forms. A submission is not checked against it; its worker decides.",
        problems=_ASKED,
    ),
    Operation(
        "GET",
        f"{_V1}/nodes",
        "listNodes",
        "cluster",
        "The nodes",
        nodes,
        (Answer(200, "All of the cluster.", NodeList, {"nodes": [examples.NODE]}),),
        problems=_ASKED,
    ),
    Operation(
        "GET",
        f"{_V1}/leader",
        "getLeader",
        "cluster",
        "Who holds the office",
        leader,
        (Answer(200, "The holder, or nulls.", LeaderInfo, examples.LEADER),),
        problems=_ASKED,
    ),
    Operation(
        "GET",
        f"{_V1}/cluster",
        "getCluster",
        "cluster",
        "The cluster: its identity, its members, its leader",
        cluster,
        (Answer(200, "The cluster.", ClusterView, examples.CLUSTER),),
        problems=_ASKED,
    ),
    Operation(
        "GET",
        "/livez",
        "getLiveness",
        "health",
        "Do this node's loops turn?",
        livez,
        (Answer(200, "They do.", Health, examples.HEALTH_LIVE),),
        problems=("not_live", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        "/readyz",
        "getReadiness",
        "health",
        "Can this node take requests now?",
        readyz,
        (Answer(200, "It can.", Health, examples.HEALTH_READY),),
        problems=("not_ready", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        "/health",
        "getHealth",
        "health",
        "Liveness and readiness together, with the version",
        health,
        (Answer(200, "Both are fine.", HealthSummary, examples.HEALTH),),
        problems=("not_live", "not_ready", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        "health",
        "Metrics in Prometheus' text format, or as OpenMetrics",
        metrics,
        (Answer(200, "Samples.", "text", 'hegemon_node_uptime_seconds{cluster="hegemon",node="node-1"} 42.0\n'),),
        problems=("not_found",),
    ),
    Operation(
        "GET",
        "/problems",
        "listProblems",
        "problems",
        "All problem codes",
        problem_kinds,
        (Answer(200, "What every error may say.", ProblemKinds, {"problems": [examples.PROBLEM_KIND]}),),
    ),
    Operation(
        "GET",
        "/problems/{code}",
        "getProblem",
        "problems",
        "What a problem code means",
        problem_kind,
        (Answer(200, "Its meaning.", ProblemKind, examples.PROBLEM_KIND),),
        parameters=(CODE,),
        problems=("not_found",),
    ),
)
