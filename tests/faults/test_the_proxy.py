"""The proxy before a store: what it opened is closed, in whatever moment it ends."""

import gc
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.faults.faulty_store import FaultyRedis

ENDS = 300
CLIENTS = 3


@contextmanager
def silent_store() -> Iterator[str]:
    """A store that takes connections and says nothing; its URL."""
    taken: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in taken:
                one.close()


def test_a_proxy_that_ends_right_behind_its_clients_leaves_nothing_open() -> None:
    gc.collect()  # what others left is theirs
    with silent_store() as url, warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        for number in range(ENDS):
            proxy = FaultyRedis(url)
            with proxy.running():
                place = ("127.0.0.1", urlsplit(proxy.url).port)
                clients = [socket.create_connection(place) for _ in range(CLIENTS)]
                # Each time another moment of their lives: let in, connected, closing.
                time.sleep((number % 20) * 0.0002)
                for client in clients:
                    client.close()
                time.sleep((number % 7) * 0.0001)
        gc.collect()
        assert [str(one.message) for one in left] == []
