"""Who is on the other side, and what of it may be believed. Pure: frames and the time go in, verdicts come out.

Three frames prove two nodes to each other. None of them says anything that a recorded one could not say, except that
it returns a challenge:

    A ── HELLO(facts of A, challenge a) ──────────────────────▶ B    B stores nothing
    A ◀─ WELCOME(facts of B, returns a, challenge b) ────────── B    A: B is proven
    A ── CONFIRM(facts of A, returns b) ──────────────────────▶ B    B: A is proven

A challenge is not stored either: it holds the time at which it was made, and a code under a key that lives as long as
this boot. A proof is *as old as its challenge*. All three frames have one size, so an answer is never larger than what
asked for it.

A peer, as one node sees it:

==========  ===================================================  ===========================================
state       what moves it                                        what is done with its payloads
==========  ===================================================  ===========================================
unknown     a proof: to proven                                   dropped: unknown_peer; it is asked
proven      a frame of its own now and then; a new proof every   delivered, if the frame names our boot and
            RENEW_S; silence for SILENT_S: it is asked           its counter is new in the window
expired     PROOF_S after its last proof; a proof: to proven     dropped: unknown_peer; it is asked
superseded  another boot of its id is proven, by a challenge     dropped: stale_boot, for ever
            that was made after this one was first proven
==========  ===================================================  ===========================================

Trusted until when:

- that a boot is its node's latest: until another is proven. A proof whose challenge is older than the present boot's
  first proof cannot supersede it, so that withheld frames of a dead boot are of no use.
- that a frame was not delivered before: by the window (1,024 counters; what is older is dropped). A window lives as
  long as its boot is known, and boots that were forgotten cannot return. (What was dropped for want of a proof may
  still come, once, after it: that is late, not again.)
- that a frame was sent lately: PROOF_S. Who can hold frames back can let a node that has died look alive for so long.
- what a member says of itself: while it has the secret. One secret serves all, so a member can speak for another.

==============================================  =======================================================
failure                                         effect
==============================================  =======================================================
a frame that names another boot of ours         stale_boot; its sender is asked, since it does not know us
CONFIRM is lost                                 the peer's payloads are unknown_peer, and we ask it
a HELLO, or a whole session, is played again    no state changes; at most a WELCOME that nobody can use
one direction is cut                            payloads go on in the other until PROOF_S is over
our clock stops with us (SIGSTOP)               proofs have expired on waking; one round trip renews them
two live processes have one id                  the later one holds it, the earlier is superseded
another live process has our id                 `Verdict.twin`, told when it has proven itself
more than PEERS_MAX ids                         the longest expired is forgotten, else the new one refused
==============================================  =======================================================
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hegemon.cluster.frames import (
    DATAGRAM_FRAME_MAX,
    NOBODY,
    OVERHEAD,
    STREAM_FRAME_MAX,
    FrameRefused,
    Header,
    Keys,
    Kind,
    Sealer,
    open_frame,
    parse,
)
from hegemon.election.contract import Member

WINDOW: Final = 1024
_MASK: Final = (1 << WINDOW) - 1
CHALLENGE_S: Final = 5.0
SILENT_S: Final = 3.0
RENEW_S: Final = 10.0
PROOF_S: Final = 30.0
PEERS_MAX: Final = 1024
RETIRED_MAX: Final = 4096
_INTRODUCTION_BYTES: Final = 704
HANDSHAKE_BYTES: Final = OVERHEAD + _INTRODUCTION_BYTES
_LENGTH: Final = struct.Struct(">H")
_CHALLENGE: Final = struct.Struct(">dI")


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What a node says of itself when it proves itself. `address` is where its transport is to be reached."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    incarnation: int
    rank: int | None
    address: Annotated[str, msgspec.Meta(max_length=300)]
    version: Annotated[str, msgspec.Meta(max_length=64)]
    voter: bool

    @classmethod
    def of(cls, member: Member, version: str) -> Facts:
        """The facts about ourselves."""
        return cls(member.id, member.incarnation, member.rank, member.address, version, member.voter)

    def member(self) -> Member:
        """As electors know it."""
        return Member(self.id, incarnation=self.incarnation, address=self.address, rank=self.rank, voter=self.voter)


class Introduction(msgspec.Struct, frozen=True, array_like=True):
    """The payload of the three handshake frames, padded to one size."""

    facts: Facts
    challenge: bytes
    returned: bytes

    def encode(self) -> bytes:
        """Raises ValueError for facts that do not fit."""
        packed = msgspec.msgpack.encode(self)
        if len(packed) > _INTRODUCTION_BYTES - _LENGTH.size:
            raise ValueError("NODE_ID and address are too long for a handshake")
        return (_LENGTH.pack(len(packed)) + packed).ljust(_INTRODUCTION_BYTES, b"\0")

    @classmethod
    def decode(cls, payload: bytes) -> Introduction:
        """Raises FrameRefused("garbage")."""
        if len(payload) != _INTRODUCTION_BYTES:
            raise FrameRefused("garbage")
        (length,) = _LENGTH.unpack_from(payload)
        try:
            return _decoder.decode(payload[_LENGTH.size : _LENGTH.size + length])
        except msgspec.DecodeError:
            raise FrameRefused("garbage") from None


_decoder: Final = msgspec.msgpack.Decoder(Introduction)


class Window:
    """Which counters of one sender were taken: the newest and the 1,023 below it. What is older counts as taken."""

    __slots__ = ("_bits", "_top")

    def __init__(self, first: int) -> None:
        self._top = first
        self._bits = 1

    def take(self, counter: int) -> bool:
        """Whether it is new; from now on it is not."""
        ahead = counter - self._top
        if ahead > 0:
            self._bits = ((self._bits << ahead) | 1) & _MASK if ahead < WINDOW else 1
            self._top = counter
            return True
        if -ahead >= WINDOW or self._bits >> -ahead & 1:
            return False
        self._bits |= 1 << -ahead
        return True


class Challenges:
    """Makes challenges and knows its own again, without remembering any."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def make(self, about: bytes, now: float, place: int = 0) -> bytes:
        """A challenge that `about` may return within CHALLENGE_S; `place` comes back with it."""
        stamp = _CHALLENGE.pack(now, place)
        return stamp + self._code(stamp, about)

    def read(self, returned: bytes, about: bytes, now: float) -> tuple[float, int] | None:
        """When it was made and the place; None if it is not ours, not about that, or too old."""
        stamp, code = returned[: _CHALLENGE.size], returned[_CHALLENGE.size :]
        if len(stamp) != _CHALLENGE.size or not hmac.compare_digest(code, self._code(stamp, about)):
            return None
        made_at, place = _CHALLENGE.unpack(stamp)
        return (made_at, place) if now - made_at <= CHALLENGE_S else None

    def _code(self, stamp: bytes, about: bytes) -> bytes:
        return hashlib.blake2s(stamp + about, key=self._key, digest_size=16).digest()


@dataclass(slots=True)
class Peer:
    """A node that has proven itself. Times are of this node's monotonic clock: `confirmed_at` when this boot was first
    proven, `proven_at` when the last returned challenge was made, `heard_at` when it last sent anything to us."""

    facts: Facts
    boot: bytes
    cipher: ChaCha20Poly1305
    confirmed_at: float
    proven_at: float
    heard_at: float
    datagrams: Window
    streams: Window


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a frame comes to. `dropped` is a counter's name. `reply` goes back the way the frame came, before anything
    else is done. `ask`: whoever sent it has no session with us and should get a HELLO."""

    dropped: str | None = None
    reply: bytes | None = None
    proven: Peer | None = None
    news: bool = False
    place: int = 0
    own: bool = False
    twin: str | None = None
    sender: str | None = None
    payload: bytes | None = None
    ask: bool = False


@dataclass(slots=True)
class Sessions:
    """All peers of one boot of one node. `id` is its own NODE_ID."""

    id: str
    keys: Keys
    boot: bytes = field(default_factory=lambda: os.urandom(16))
    peers: dict[str, Peer] = field(default_factory=dict)
    _boots: dict[bytes, Peer] = field(default_factory=dict)
    _retired: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _challenges: Challenges = field(default_factory=Challenges)
    _twin: bytes = NOBODY
    _sealer: Sealer = field(init=False)

    def __post_init__(self) -> None:
        self._sealer = Sealer(self.keys.sending, self.boot)

    def hello(self, me: Facts, now: float, place: int = 0) -> bytes:
        """A frame that asks whoever gets it to prove itself; `place` comes back in the verdict on the answer."""
        challenge = self._challenges.make(b"hello", now, place)
        return self._sealer.seal(Kind.HELLO, NOBODY, Introduction(me, challenge, b"").encode())

    def seal(self, to: str, payload: bytes, now: float, *, stream: bool = False) -> bytes | None:
        """A frame for a proven peer, or None if there is no session with it."""
        peer = self.peers.get(to)
        if peer is None or now - peer.proven_at > PROOF_S:
            return None
        return self._sealer.seal(Kind.STREAM if stream else Kind.DATAGRAM, peer.boot, payload)

    def ask_at(self, node: str) -> float:
        """From when on a node should be asked to prove itself (again); 0 if it never has."""
        peer = self.peers.get(node)
        return 0.0 if peer is None else min(peer.heard_at + SILENT_S, peer.proven_at + RENEW_S)

    def receive(self, frame: bytes, me: Callable[[], Facts], now: float, *, stream: bool) -> Verdict:
        """Judge a frame that came by datagram or by stream. `me` tells the facts for an answer. Never raises."""
        try:
            header = parse(frame, most=STREAM_FRAME_MAX if stream else DATAGRAM_FRAME_MAX)
            peer = self._boots.get(header.sender)
            cipher = peer.cipher if peer is not None else self.keys.cipher(header.key_name, header.sender)
            payload = open_frame(cipher, header, frame)
            if header.sender == self.boot:
                return self._own(header, payload, now)
            if header.sender in self._retired:
                return Verdict(dropped="stale_boot")
            if header.kind is not Kind.HELLO and header.receiver != self.boot:
                return Verdict(dropped="stale_boot", ask=True)
            if header.kind in {Kind.DATAGRAM, Kind.STREAM}:
                return self._payload(header, peer, payload, now, stream=stream)
            if peer is not None and not peer.datagrams.take(header.counter):
                return Verdict(dropped="replayed")
            said = Introduction.decode(payload)
            if header.kind is Kind.HELLO:
                return self._hello(header, said, me(), now)
            return self._proof(header, said, cipher, me(), now)
        except FrameRefused as refused:
            return Verdict(dropped=refused.reason)

    def _own(self, header: Header, payload: bytes, now: float) -> Verdict:
        """A frame of this very boot: we were told our own address, or somebody sends our frames back."""
        if header.kind is Kind.HELLO:
            made = self._challenges.read(Introduction.decode(payload).challenge, b"hello", now)
            if made is not None:
                return Verdict(own=True, place=made[1])
        return Verdict(dropped="replayed")

    def _payload(self, header: Header, peer: Peer | None, payload: bytes, now: float, *, stream: bool) -> Verdict:
        if (header.kind is Kind.STREAM) is not stream:
            return Verdict(dropped="garbage")
        if peer is None or now - peer.proven_at > PROOF_S:
            return Verdict(dropped="unknown_peer", ask=True)
        window = peer.streams if stream else peer.datagrams
        if not window.take(header.counter):
            return Verdict(dropped="replayed")
        peer.heard_at = now
        return Verdict(sender=peer.facts.id, payload=payload)

    def _hello(self, header: Header, said: Introduction, me: Facts, now: float) -> Verdict:
        """Answer, and store nothing: it may be a recorded one."""
        challenge = self._challenges.make(b"welcome" + header.sender, now)
        answer = Introduction(me, challenge, said.challenge).encode()
        return Verdict(reply=self._sealer.seal(Kind.WELCOME, header.sender, answer))

    def _proof(self, header: Header, said: Introduction, cipher: ChaCha20Poly1305, me: Facts, now: float) -> Verdict:
        welcome = header.kind is Kind.WELCOME
        made = self._challenges.read(said.returned, b"hello" if welcome else b"welcome" + header.sender, now)
        if made is None:
            return Verdict(dropped="stale_boot")
        made_at, place = made
        if said.facts.id == self.id:
            first, self._twin = self._twin != header.sender, header.sender
            return Verdict(twin=said.facts.address if first else None, place=place)
        known = self._boots.get(header.sender)
        if known is not None and known.facts.id != said.facts.id:
            return Verdict(dropped="garbage")
        peer = self.peers.get(said.facts.id)
        news = peer is None or peer.boot != header.sender or peer.facts != said.facts
        if peer is not None and peer.boot == header.sender:
            peer.facts, peer.proven_at, peer.heard_at = said.facts, max(peer.proven_at, made_at), now
        elif (peer is not None and made_at <= peer.confirmed_at) or not self._room(now, peer):
            return Verdict(dropped="stale_boot" if peer is not None else "unknown_peer")
        else:
            if peer is not None:
                self._retire(peer)
            window = Window(header.counter), Window(header.counter)
            peer = Peer(said.facts, header.sender, cipher, now, made_at, now, *window)
            self.peers[said.facts.id] = self._boots[header.sender] = peer
        confirm = Introduction(me, b"", said.challenge).encode() if welcome else None
        reply = None if confirm is None else self._sealer.seal(Kind.CONFIRM, header.sender, confirm)
        return Verdict(reply=reply, proven=peer, news=news, place=place)

    def _room(self, now: float, successor_of: Peer | None) -> bool:
        if successor_of is not None or len(self.peers) < PEERS_MAX:
            return True
        oldest = min(self.peers.values(), key=lambda peer: peer.proven_at)
        if now - oldest.proven_at <= PROOF_S:
            return False
        self._retire(oldest)
        return True

    def _retire(self, peer: Peer) -> None:
        del self.peers[peer.facts.id], self._boots[peer.boot]
        self._retired[peer.boot] = None
        if len(self._retired) > RETIRED_MAX:
            self._retired.popitem(last=False)
