"""What worker processes tell of ends of jobs becomes events: failures by name, up to a bound, successes by number."""

from typing import Any

from hegemon.cluster.job_facts import COUNT_EVERY_S, JobFacts
from hegemon.events.jobs import JobDead, JobRetried, JobsCompleted, JobsUnlisted
from hegemon.events.kind import DomainEvent


def message(*jobs: tuple[Any, ...], dead: int = 0, retried: int = 0) -> dict[str, Any]:
    return {"is": "ends", "jobs": [list(job) for job in jobs], "dead": dead, "retried": retried}


def test_a_failed_try_is_told_as_dead_or_as_retried() -> None:
    told: list[DomainEvent] = []
    facts = JobFacts(told.append, 0.0)
    facts.heard(
        message(
            ("a", "email", "mail", 1, "failed", "OSError", True),
            ("a", "email", "mail", 2, "timeout", "JobTimeout", False),
        )
    )
    assert told == [
        JobRetried("a", "email", "mail", 1, "failed", "OSError"),
        JobDead("a", "email", "mail", 2, "timeout", "JobTimeout"),
    ]


def test_successes_are_counted_over_some_time_and_none_is_no_news() -> None:
    told: list[DomainEvent] = []
    facts = JobFacts(told.append, 0.0)
    facts.count(5, COUNT_EVERY_S / 2)
    assert told == []
    facts.count(7, COUNT_EVERY_S)
    facts.count(7, 2 * COUNT_EVERY_S)
    facts.count(8, 3 * COUNT_EVERY_S)
    assert told == [JobsCompleted(7, COUNT_EVERY_S), JobsCompleted(1, COUNT_EVERY_S)]


def test_the_last_count_does_not_wait() -> None:
    told: list[DomainEvent] = []
    facts = JobFacts(told.append, 0.0)
    facts.count(7, 1.5, last=True)
    assert told == [JobsCompleted(7, 1.5)]


def test_what_was_not_told_one_by_one_is_counted() -> None:
    told: list[DomainEvent] = []
    facts = JobFacts(told.append, 0.0)
    facts.heard(message(dead=2, retried=1))
    facts.heard(message(retried=4))
    facts.count(0, COUNT_EVERY_S)
    facts.count(0, 2 * COUNT_EVERY_S)
    assert told == [JobsUnlisted(dead=2, retried=5)]
