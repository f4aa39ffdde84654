"""Dramatiq: Redis broker, Redis result backend, results kept."""

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

store = os.environ["REDIS"]
broker = RedisBroker(url=f"{store}/0")
broker.add_middleware(Results(backend=RedisBackend(url=f"{store}/1"), store_results=True, result_ttl=3_600_000))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> None:
    """Do nothing."""


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        noop.send()
