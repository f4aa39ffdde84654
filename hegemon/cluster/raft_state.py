"""What a voter must not forget: its term and its vote, on disk with fsync before anything that follows from them leaves.

Raft's one safeguard against two leaders of one term is that a voter votes once in it, also after a crash (thesis 3.8).
PySyncObj's journal writes both without fsync, and reads a damaged file as an empty one. This file is written whole,
synced, renamed over the old one, and the directory is synced; what cannot be read is refused.

| the file | what it means |
|---|---|
| is absent | the voter is *blank*: it starts for the first time, or lost its disk and may have voted. It votes for nobody until that can do no harm, and never in a term up to the one that the office's document has (`hegemon.cluster.raft_voter`) |
| is of another cluster or node | somebody mixed directories up: refused |
| is damaged | a vote may be lost: refused. Deleting the file says "this disk is lost", and the voter is blank |
"""  # noqa: E501 - a table row

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

FORMAT: Final = 1
FILE: Final = "election.json"
# What no passing of time mends.
_FOR_PEOPLE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOENT}
)


class RaftStateError(Exception):
    """The file of term and vote cannot be used; the message says why and what to do."""


class Durable(msgspec.Struct, frozen=True):
    """``vote`` is the NODE_ID voted for in ``term``; ``session`` counts the starts of this node; ``blank`` until a node
    without a past may vote; it never votes in a term up to ``floor``, in which it may have voted before."""

    term: int = 0
    vote: str | None = None
    session: int = 0
    blank: bool = True
    floor: int = 0


class Storage(Protocol):
    """Where a voter keeps what it must not forget."""

    def load(self) -> Durable | None:
        """What was saved last; None if there is nothing. Raises RaftStateError if it cannot be relied on, OSError if it
        cannot be read now."""
        ...

    def save(self, durable: Durable) -> None:
        """Return once a loss of power would not undo it. Raises OSError if that cannot be had."""
        ...


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    cluster_id: str
    node_id: str
    durable: Durable


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: msgspec.Raw
    crc32: int


class RaftFile:
    """Storage in ``directory`` (DATA_DIR/raft), which is made with mode 0700 if need be."""

    def __init__(self, directory: Path, *, cluster_id: str, node_id: str) -> None:
        self._path = directory / FILE
        self._cluster_id = cluster_id
        self._node_id = node_id

    def load(self) -> Durable | None:
        self._check_directory()
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _FOR_PEOPLE:
                error.filename = str(self._path)  # a read that fails does not name it
                raise
            raise RaftStateError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            file = msgspec.json.decode(raw, type=_File)
            content = msgspec.json.decode(file.content, type=_Content)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._damaged() from error
        if zlib.crc32(bytes(file.content)) != file.crc32:
            raise self._damaged()
        if content.v != FORMAT:
            raise RaftStateError(f"{self._path} has format {content.v}, and this version reads {FORMAT}")
        if (content.cluster_id, content.node_id) != (self._cluster_id, self._node_id):
            raise RaftStateError(
                f"{self._path} belongs to node {content.node_id} of cluster {content.cluster_id}, and this is node "
                f"{self._node_id} of cluster {self._cluster_id}: give each node a DATA_DIR of its own"
            )
        return content.durable

    def save(self, durable: Durable) -> None:
        content = msgspec.json.encode(_Content(FORMAT, self._cluster_id, self._node_id, durable))
        raw = msgspec.json.encode(_File(msgspec.Raw(content), zlib.crc32(content)))
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        # The new name is durable only once the directory is.
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _check_directory(self) -> None:
        """A disk that is full may have room later. One that this user may not write to is a voter without a voice, for
        as long as nobody reads its log: refused."""
        directory = self._path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in _FOR_PEOPLE:
                return
            reason = error.strerror
        else:
            if os.access(directory, os.W_OK | os.X_OK):
                return
            reason = "it is not this user's to write"
        raise RaftStateError(
            f"DATA_DIR cannot be used: {directory}: {reason}. Name a directory of this node's own that outlives "
            f"restarts and that its user may write"
        )

    def _damaged(self) -> RaftStateError:
        return RaftStateError(
            f"{self._path} is damaged. It holds the vote of this node; delete it only if its disk counts as lost: the "
            f"node then votes again once that can do no harm"
        )
