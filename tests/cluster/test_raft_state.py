"""Term and vote are on disk, with fsync, before anything that follows from them leaves."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hegemon.cluster.raft_frames import Frame, PreVote, RequestVote, Vote, decode, electorate, encode
from hegemon.cluster.raft_library import clock
from hegemon.cluster.raft_state import FILE, Durable, RaftFile, RaftStateError
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.contract import Member, Timing
from tests.cluster.raft_network import Disk, RaftNetwork

VOTERS = ("n1", "n2", "n3")
SAVED = Durable(term=4, vote=None, session=1, blank=False)


def file(directory: Path, *, cluster_id: str = "c", node_id: str = "n1") -> RaftFile:
    return RaftFile(directory / "raft", cluster_id=cluster_id, node_id=node_id)


def request(term: int, *, number: int = 1) -> bytes:
    return encode(Frame(electorate(VOTERS), 1, number, term, True, False, False, RequestVote(term, 1, 0)))


def voter(storage: RaftFile | Disk, sent: list[tuple[str, bytes]]) -> RaftVoter:
    return RaftVoter(
        Member("n1"),
        voters=VOTERS,
        timing=Timing(),
        storage=storage,
        rng=random.Random(1),
        post=lambda to, payload: sent.append((to, payload)),
        now=clock(),
    )


def votes(sent: list[tuple[str, bytes]]) -> list[tuple[str, int]]:
    frames = [(to, decode(payload)) for to, payload in sent]
    return [(to, frame.body.term) for to, frame in frames if frame is not None and isinstance(frame.body, Vote)]


def test_what_was_saved_is_read_and_nothing_else_lies_about(tmp_path: Path) -> None:
    assert file(tmp_path).load() is None
    file(tmp_path).save(Durable(7, "n2", 3, False, 5))
    assert file(tmp_path).load() == Durable(7, "n2", 3, False, 5)
    assert [path.name for path in (tmp_path / "raft").iterdir()] == [FILE]


def test_a_file_of_another_node_or_cluster_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file(tmp_path).save(SAVED)
    with pytest.raises(RaftStateError, match="belongs to node n1 of cluster c, and this is node n2"):
        file(tmp_path, node_id="n2").load()
    with pytest.raises(RaftStateError, match="cluster d"):
        file(tmp_path, cluster_id="d").load()


@pytest.mark.parametrize("damage", ["cut", "empty", "other term", "no json"])
def test_a_damaged_file_is_refused_and_never_read_as_a_fresh_start(tmp_path: Path, damage: str) -> None:
    file(tmp_path).save(SAVED)
    path = tmp_path / "raft" / FILE
    raw = path.read_bytes()
    path.write_bytes(
        {"cut": raw[:-3], "empty": b"", "other term": raw.replace(b'"term":4', b'"term":3'), "no json": b"\0" * 40}[
            damage
        ]
    )
    with pytest.raises(RaftStateError, match="damaged"):
        file(tmp_path).load()


def test_a_file_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hegemon.cluster.raft_state.FORMAT", 2)
    file(tmp_path).save(SAVED)
    monkeypatch.undo()
    with pytest.raises(RaftStateError, match="format 2"):
        file(tmp_path).load()


def test_a_disk_that_does_not_answer_is_no_file_that_cannot_be_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(path: Path) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    file(tmp_path).save(SAVED)
    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(OSError, match=FILE) as away:
        file(tmp_path).load()
    assert away.value.errno == errno.ESTALE


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raft" / FILE).mkdir(parents=True)
    with pytest.raises(RaftStateError, match="cannot be read: Is a directory"):
        file(tmp_path).load()


def test_file_and_directory_are_synced_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    file(tmp_path).save(SAVED)
    assert steps == ["sync election.tmp", "rename", "sync raft"]


CHILD = """
import os, signal, sys
from pathlib import Path
import tests.cluster.test_raft_state as t
where, when = Path(sys.argv[1]), sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
voter = t.voter(t.file(where), [])
class Fatal(list):
    def append(self, each):
        if t.votes([each]):
            if when == "before it leaves":
                die()
            print("voted", flush=True)
sent = Fatal()
voter._out._send = lambda to, payload: sent.append((to, payload))
if when == "before it is saved":
    os.fsync = die
voter.receive("n2", t.request(5), t.clock())
"""


def killed_child(directory: Path, when: str) -> str:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(directory), when], capture_output=True, text=True, timeout=60, check=False
    )
    if when != "never":
        assert child.returncode == -signal.SIGKILL, child.stderr
    return child.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="one platform shows the order")
@pytest.mark.parametrize("when", ["before it is saved", "before it leaves", "never"])
def test_a_voter_killed_around_its_vote_never_votes_twice_in_the_term(tmp_path: Path, when: str) -> None:
    file(tmp_path).save(SAVED)
    left = killed_child(tmp_path, when)
    assert bool(left) == (when == "never"), "a vote left before it was saved, or never left"
    again: list[tuple[str, bytes]] = []
    reborn = voter(file(tmp_path), again)
    reborn.receive("n3", request(5), clock())
    voted_before = when != "before it is saved"
    assert votes(again) == ([] if voted_before else [("n3", 5)])


def test_nothing_leaves_while_the_disk_refuses_and_all_goes_on_when_it_takes(tmp_path: Path) -> None:
    disk, sent = Disk(), list[tuple[str, bytes]]()
    disk.content = SAVED
    node = voter(disk, sent)
    disk.full = True
    node.receive("n2", request(5), clock())
    node.tick(clock())
    assert sent == []
    assert node.dropped["unsaved"] > 0
    disk.full = False
    node.receive("n2", request(6, number=2), clock())
    assert votes(sent) == [("n2", 6)]
    assert disk.content.term == 6


def test_a_leader_whose_disk_refuses_the_next_term_is_not_confirmed_and_another_leads() -> None:
    net = RaftNetwork(3)
    with net.running():
        first = net.settle()
        net.crash(first)
        for name in net.followers():
            net.machines[name].disk.full = True
        assert not net.run(5.0, lambda: net.leader() is not None)
        for name in net.followers():
            net.machines[name].disk.full = False
        assert net.run(5.0, lambda: net.leader() is not None)


def test_a_vote_costs_one_write(tmp_path: Path) -> None:
    disk, sent = Disk(), list[tuple[str, bytes]]()
    disk.content = SAVED
    node = voter(disk, sent)
    node.receive("n2", request(5), clock())
    assert (disk.saves, votes(sent)) == (1, [("n2", 5)])


def test_a_node_without_a_past_gives_no_vote_before_it_knows_the_terms_of_all_others() -> None:
    disk, sent = Disk(), list[tuple[str, bytes]]()
    node = voter(disk, sent)
    node.set_recorded(0)
    node.receive("n2", request(5), clock())
    node.tick(clock())
    assert votes(sent) == []
    greeting = encode(Frame(electorate(VOTERS), 1, 2, 7, True, False, False, PreVote(8)))
    node.receive("n3", greeting, clock())
    node.tick(clock())
    node.receive("n2", request(7, number=2), clock())
    assert votes(sent) == [], "it may have voted in term 7 before its disk was lost"
    node.receive("n2", request(8, number=3), clock())
    assert votes(sent) == [("n2", 8)]
