"""Whom a sample of the benchmarks' profile is counted for."""

from benchmarks.profile import count


def test_a_sample_is_the_innermost_frames_that_anybody_owns() -> None:
    shares = count(
        [
            "run (asyncio/runners.py:1);send (hegemon/queue/redis.py:9);pack (redis/x.py:1) 3",
            "main (hegemon/cli/node.py:1);submit (hegemon/api/job_operations.py:2);malloc (libc.so.6) 2",
            "malloc (libc.so.6) 1",
        ]
    )
    assert shares == {"redis-py": 3, "our HTTP endpoints": 2, "the interpreter": 1}
