"""The worker process as such: what it writes when it cannot go on."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from hegemon.cluster.settings import load
from hegemon.cluster.slices import retry_policy, worker_options
from hegemon.worker.board import Board


def ended_worker(environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """A worker that is told these settings of its node, once it has ended by itself."""
    settings = load(environment, None)
    told = worker_options(settings, "n1~1", retry_policy(settings.queue)) | {"worker": "w1", "slots": 1, "solo": False}
    ours, theirs = socket.socketpair()
    board = Board.create(1)
    try:
        with ours, theirs:
            ours.sendall(msgspec.json.encode(told) + b"\n")
            return subprocess.run(
                [
                    *(sys.executable, "-P", "-m", "hegemon.worker", f"--control={theirs.fileno()}"),
                    *(f"--board={board.fd}", f"--parent={os.getpid()}"),
                ],
                pass_fds=(theirs.fileno(), board.fd),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                cwd=directory,
            )
    finally:
        board.close()


def test_the_last_words_of_a_worker_hold_no_secret(tmp_path: Path) -> None:
    # The driver says which file it could not read: here it has the name of the password.
    uri = "mongodb://u:canary-of-mongo@127.0.0.1:9/?tls=true&tlsCAFile=/none/canary-of-mongo"
    ended = ended_worker({"MONGODB_URI": uri, "HANDLERS": "tests.handlers"}, tmp_path)
    assert ended.returncode == 1
    assert "MONGODB_URI, or a file of its TLS, cannot be used" in ended.stderr
    assert "/none/********" in ended.stderr
    assert "canary" not in ended.stderr + ended.stdout
