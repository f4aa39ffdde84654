"""`python -m tests.soak.idle_peers PORT COUNT`: so many connections, an answer on each, "ready", and then nothing until
the input ends. A process of its own, since both ends of 10,000 connections are more files than one may have.
"""

import asyncio
import resource
import sys

REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(port: int) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    return reader, writer


async def _idle(port: int, count: int) -> None:
    held: list[Streams] = []
    for _ in range(count // 100):
        held += await asyncio.gather(*(_connect(port) for _ in range(100)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    assert len(held) == count


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_idle(int(sys.argv[1]), int(sys.argv[2])))
