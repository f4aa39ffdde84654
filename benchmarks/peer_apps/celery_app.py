"""Celery: Redis broker, Redis result backend, results kept."""

import os
import sys

from celery import Celery

store = os.environ["REDIS"]
app = Celery("peer", broker=f"{store}/0", backend=f"{store}/1")
app.conf.update(
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "64")),
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(int(sys.argv[1])):
            noop.apply_async(producer=producer)
