"""A test process's own network: nobody's port is in its way, and servers from outside stay within reach."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.own_network import move_into_own_network

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import socket, sys
from tests.own_network import move_into_own_network

if stays := move_into_own_network({}):
    sys.exit(stays)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    with socket.create_connection(server.getsockname()):
        print("both ends are here")
"""


def test_a_port_that_is_taken_elsewhere_is_free_in_a_network_of_ones_own_and_loopback_works() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-c", CHILD, str(taken.getsockname()[1])]
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        if "ermitted" in ended.stderr or "Linux" in ended.stderr:
            pytest.skip(ended.stderr.strip())
        assert (ended.returncode, ended.stdout) == (0, "both ends are here\n"), ended.stderr


@pytest.mark.parametrize("server", ["REDIS_URL", "MONGODB_URI", "HEGEMON_TEST_URL"])
def test_a_process_whose_servers_are_outside_stays_with_them(server: str) -> None:
    assert server in move_into_own_network({server: "somewhere"})
