"""A network of its own for a test process: no port of another process of the run, or of the machine, can be in the way.

It takes Linux and root. Where it may not be had, the process stays where it is, and the ports of `tests/nodes.py` keep
the processes of a run apart.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

# Where a test process, and each of its workers, finds the network that the run was started in.
OUTER_NETWORK: Final = "TESTS_OUTER_NETWORK"
_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
# struct ifreq: the interface's name and its flags.
_IFREQ: Final = struct.Struct("16sh22x")
# Servers that were started outside, whom nobody reaches from a network of its own.
_OUTSIDE: Final = ("REDIS_URL", "MONGODB_URI", "HEGEMON_TEST_URL")


def move_into_own_network(environ: Mapping[str, str] = os.environ) -> str:
    """Move this thread, and all that it starts from now on, into a new network that holds nothing but loopback.

    Returns "", or why it stays where it is. To be called before other threads are started: those do not move.
    """
    if sys.platform != "linux":
        return "networks of one's own are Linux's"
    if outside := [name for name in _OUTSIDE if environ.get(name)]:
        return f"{' and '.join(outside)}: those are reached over the network that there is"
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return str(error)
    try:
        if libc.unshare(_CLONE_NEWNET):
            return os.strerror(ctypes.get_errno())
        try:
            _raise_loopback()
        except OSError as error:
            if libc.setns(before, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot go back from a network without loopback") from error
            return str(error)
    finally:
        os.close(before)
    return ""


def keep_outer_network() -> None:
    """Keep the network that this process was started in, which is gone from its own /proc once it has moved.

    The variable OUTER_NETWORK is set to a path for `nsenter --net=PATH`, good while this process lives. Its children,
    which inherit the variable, leave it as it is. There is none where there are no such networks.
    """
    with suppress(OSError):
        network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        os.environ.setdefault(OUTER_NETWORK, f"/proc/{os.getpid()}/fd/{network}")


def _raise_loopback() -> None:
    """What `ip link set lo up` does, which not every machine has."""
    import fcntl  # noqa: PLC0415 - no such module where this does not run

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = _IFREQ.pack(b"lo", 0)
        name, flags = _IFREQ.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ.pack(name, flags | _IFF_UP))
    # The kernel may want permission for this one as well.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
