"""What a job says and asks while it runs: how far it is, and whether one start more is within a limit."""

from __future__ import annotations

import time
from datetime import timedelta

import redis

from backroom.domain.limits import Rate
from backroom.queue.open import Script, queue_away
from backroom.queue.wire import milliseconds

# Whoever watches does not see more than that.
TOLD_EVERY = timedelta(seconds=1)
MOST_NOTE_CHARS = 200
MOST_REMEMBERED = 1_000


class Running:
    """The worker's side of a running job."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._progress, self._admit = (Script(client, name, prefix=prefix) for name in ("progress", "admit"))
        self._told: dict[str, float] = {}

    def progress(self, id: str, share: float, note: str = "") -> None:
        """Say how far a message's job is; once a second at most, what comes sooner is dropped unless it is the end.

        Raises:
            QueueAway: Valkey does not answer.
        """
        now = time.monotonic()
        if share < 1 and now - self._told.get(id, float("-inf")) < TOLD_EVERY.total_seconds():
            return
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        self._told[id] = now
        with queue_away():
            self._progress.repeatable(id, f"{min(max(share, 0.0), 1.0):.4f}|{note[:MOST_NOTE_CHARS]}")

    def admit(self, key: str, rate: Rate) -> timedelta | None:
        """Count one start more for a limit; None if it is granted, otherwise when to ask again.

        Raises:
            QueueAway: Valkey does not answer.
        """
        with queue_away():
            # Asked once: a repeated question would count twice.
            wait = int(self._admit(key, rate.count, milliseconds(rate.per), rate.burst))
        return timedelta(milliseconds=wait) if wait else None
