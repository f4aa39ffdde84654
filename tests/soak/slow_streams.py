"""`python -m tests.soak.slow_streams PORT COUNT`: so many slow clients of the stream of events, each over and over from
where it was. Every other one reads a kilobyte a second, the rest read nothing for a while. When all have an answer it
writes "ready", and at the end of its input what they have seen, as JSON. A process of its own, so that what clients
cost is not counted as what the node costs.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import sys
from collections import Counter

import msgspec

PATH = b"/api/v1/activity/stream"
RECEIVED = 4096
BYTES_PER_S = 1024
AGAIN_S = 1.0
SILENT_S = 20.0
ID = re.compile(rb"^id: ([0-9]+)$", re.MULTILINE)
WORD = re.compile(rb"^event: (dropped|end)$", re.MULTILINE)


class Client:
    """One of them."""

    def __init__(self, port: int, seen: Counter[str], *, reads: bool) -> None:
        self._port, self._seen, self._reads = port, seen, reads
        self._after = b""
        self.answered = asyncio.Event()

    async def run(self) -> None:
        """Connect, read until the end, connect again."""
        while True:
            try:
                await self._once()
            except OSError:
                # What nobody reads is cut, in the end.
                self._seen["cut while it read" if self._reads else "cut"] += 1
            await asyncio.sleep(AGAIN_S)

    async def _once(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", self._port))
            after = b"Last-Event-ID: %b\r\n" % self._after if self._after else b""
            await loop.sock_sendall(sock, b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (PATH, after))
            status = (await loop.sock_recv(sock, BYTES_PER_S)).split(b" ", 2)[1].decode()
            self._seen[status] += 1
            self.answered.set()
            last = b""
            if not self._reads:
                await asyncio.sleep(SILENT_S)
            while some := await loop.sock_recv(sock, BYTES_PER_S):
                last = (last + some)[-RECEIVED:]
                if found := ID.findall(last):
                    self._after = found[-1]
                if not WORD.search(last):
                    await asyncio.sleep(1.0)
            word = WORD.search(last)
            self._seen[word[1].decode() if word else "no word while it read" if self._reads else "no word"] += 1


async def main(port: int, count: int) -> None:
    seen: Counter[str] = Counter()
    clients = [Client(port, seen, reads=number % 2 == 0) for number in range(count)]
    tasks = []
    for begin in range(0, count, 100):
        some = clients[begin : begin + 100]
        tasks += [asyncio.create_task(client.run()) for client in some]
        await asyncio.gather(*(client.answered.wait() for client in some))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sys.stdout.buffer.write(msgspec.json.encode(dict(seen)) + b"\n")


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(*map(int, sys.argv[1:3])))
