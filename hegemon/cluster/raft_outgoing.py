"""The one way out of a Raft node: nothing leaves before the disk has what it says.

PySyncObj sets its term and vote in memory and then sends. Here each frame, and each word to the rest of the node that
we lead, first asks that the latest term and vote be saved (thesis 3.8). Several changes before a frame cost one fsync.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from hegemon.cluster.raft_frames import Body, Frame, encode
from hegemon.cluster.raft_peers import KnownPeer
from hegemon.cluster.raft_state import Durable, Storage

log = structlog.get_logger(__name__)


class Outgoing:
    """What this node must not forget, and its frames. ``session`` is at least ``incarnation``. A disk that refuses
    makes the node silent, counted as ``unsaved`` in ``dropped``; the next frame tries again."""

    def __init__(
        self,
        storage: Storage,
        *,
        node: str,
        incarnation: int,
        electorate: int,
        fit: bool,
        send: Callable[[str, bytes], None],
    ) -> None:
        self._storage = storage
        self._node = node
        self._electorate = electorate
        self._send = send
        saved = storage.load() or Durable()
        self.durable = msgspec.structs.replace(saved, session=max(saved.session + 1, incarnation))
        self._on_disk: Durable | None = None
        self._refused = False
        self.fit = fit
        self.leaving = False
        self.dropped: dict[str, int] = {}

    def note(self, term: int, vote: str | None) -> None:
        """The term and the vote are now these."""
        self.durable = msgspec.structs.replace(self.durable, term=term, vote=vote)

    def admit(self, floor: int) -> None:
        """No longer blank; there is no vote in terms up to ``floor``."""
        self.durable = msgspec.structs.replace(self.durable, blank=False, floor=floor)

    def kept(self) -> bool:
        """Save what is not saved; False if the disk refuses."""
        if self._on_disk == self.durable:
            return True
        try:
            self._storage.save(self.durable)
        except OSError as error:
            self.drop("unsaved")
            if not self._refused:
                log.warning("raft_state_not_saved", node=self._node, reason=str(error))
            self._refused = True
            return False
        if self._refused:
            log.info("raft_state_saved", node=self._node)
        self._refused = False
        self._on_disk = self.durable
        return True

    def post(self, peer: KnownPeer, body: Body, now: float) -> None:
        """Send, if the disk has what it says."""
        if not self.kept():
            peer.spoken = now  # tried: the next keepalive is the next try
            return
        frame = Frame(
            voters=self._electorate,
            session=self.durable.session,
            number=peer.next_number(now),
            term=self.durable.term,
            fit=self.fit,
            blank=self.durable.blank,
            left=self.leaving,
            body=body,
        )
        self._send(peer.id, encode(frame))

    def drop(self, why: str) -> None:
        """Count what was not sent, or not taken."""
        self.dropped[why] = self.dropped.get(why, 0) + 1
