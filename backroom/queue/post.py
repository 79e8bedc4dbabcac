"""What a job declares about queueing, for the engine: with a message's own values, and as the scripts' numbers."""

from __future__ import annotations

from datetime import timedelta

from backroom.domain.job import Job, Message
from backroom.domain.limits import Limit, Unique
from backroom.queue.wire import Once, OneOfAKind, Post, milliseconds


def post_for(
    job: Job,
    message: Message,
    *,
    id: str,
    delay: timedelta = timedelta(0),
    once: Once | None = None,
    answer: bool = False,
    trace: str = "",
) -> Post:
    """A message ready for the queue; see `Post`."""
    return Post(
        job=job.name,
        queue=job.queue,
        message=message,
        id=id,
        delay=delay,
        once=once,
        answer=answer,
        priority=job.priority,
        app=getattr(message, "app", ""),
        unique=_one_of_a_kind(job.unique, job.name, message) if job.unique else None,
        limits=tuple(limit.key(message) for limit in job.limits),
        # Waiting on purpose is not being late.
        expires=job.expires + delay if job.expires is not None else None,
        trace=trace,
    )


def limit_numbers(limit: Limit) -> list[int]:
    """A limit as the scripts have it: how many at once, then count, period in ms and burst of its rate; 0 for none."""
    rate = limit.rate
    return [limit.concurrent, *((rate.count, milliseconds(rate.per), rate.burst) if rate else (0, 0, 0))]


def _one_of_a_kind(unique: Unique, job: str, message: Message) -> OneOfAKind:
    key = unique.key(job, message)
    if unique.period is not None:
        return OneOfAKind(key=key, mode="p", period=unique.period, replace=unique.replace)
    return OneOfAKind(key=key, mode="q" if unique.until == "begun" else "r", replace=unique.replace)
