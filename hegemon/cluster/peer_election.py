"""An election whose words travel over our own transport: Bully and Gossip, and the ground of Raft's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hegemon.cluster.election_settings import ElectionSettings
from hegemon.cluster.electors import Election, Met
from hegemon.cluster.frames import Keys
from hegemon.cluster.settings import Settings
from hegemon.cluster.shell import ElectionShell
from hegemon.cluster.transport import Transport
from hegemon.election.bully import Bully
from hegemon.election.contract import Abdicate, Elector, Member, Randomness, Timing, View
from hegemon.election.gossip import Gossip
from hegemon.version import VERSION


def make_elector(settings: ElectionSettings, me: Member, timing: Timing, rng: Randomness) -> Elector:
    """Bully or Gossip."""
    others = sum(1 for peer in settings.cluster_peers if peer.id != me.id)
    if settings.election_algorithm == "gossip":
        return Gossip(me, timing=timing, rng=rng, expected=1 + others)
    return Bully(me, timing=timing, preempt=settings.election_bully_preempt, expected=others)


class PeerElection(Election):
    """An election over the transport. A subclass may take what the transport brings to somebody else than the shell."""

    def __init__(
        self,
        elector: Elector,
        settings: Settings,
        me: Member,
        now_ms: Callable[[], int],
        abdicate: Callable[[Abdicate], None] | None = None,
    ) -> None:
        self._settings = settings.election
        self._elector = elector
        self._me = self._self = me
        self._met: Met | None = None
        self._twin: Callable[[str], None] | None = None
        secret, other = self._settings.cluster_secret, self._settings.cluster_secret_other
        self._addresses: dict[str, str] = {}
        self.transport = Transport(
            self._own,
            bind=(self._settings.cluster_host, self._settings.cluster_port),
            keys=Keys.from_secrets(
                settings.cluster.cluster_id,
                secret.get_secret_value() if secret else None,
                other.get_secret_value() if other else None,
            ),
            received=self.received,
            met=self._meet,
            twin=self._hear_twin,
            version=VERSION,
        )
        super().__init__(
            ElectionShell(elector, now_ms, carrier=self.transport, abdicate=abdicate, changed=self._introduce_members)
        )
        self.introduce = self.transport.introduce

    @property
    def traffic(self) -> Mapping[str, int]:
        return self.transport.counters

    @property
    def health_score(self) -> int | None:
        return self._elector.health_score if isinstance(self._elector, Gossip) else None

    def meet(self, met: Met, twin: Callable[[str], None]) -> None:
        self._met, self._twin = met, twin

    def received(self, sender: str, payload: bytes, stream: bool) -> None:
        """What the transport brings."""
        self.shell.received(sender, payload, stream)

    async def open(self) -> None:
        await self.transport.start()
        for peer in self._settings.cluster_peers:
            if peer.id != self._me.id:
                self.transport.introduce(peer.address, peer.id)

    async def close(self) -> None:
        await self.transport.close()

    def _own(self) -> Member:
        """This node as it tells others: its incarnation grows when it refutes what is said of it."""
        return self._self

    def _introduce_members(self, view: View) -> None:
        """Members that a peer told of: how one address is enough to join by."""
        for member in view.members:
            if member.id == self._me.id:
                self._self = replace(self._me, incarnation=member.incarnation)
            elif member.address and self._addresses.get(member.id) != member.address:
                self._addresses[member.id] = member.address
                self.transport.introduce(member.address, member.id)

    def _meet(self, member: Member) -> None:
        if self._met is not None:
            self._met(member)

    def _hear_twin(self, address: str) -> None:
        if self._twin is not None:
            self._twin(address)
