"""How much work a process may hold: what its threads do soon, and no more, so that other processes get their share."""

from __future__ import annotations

import time
from datetime import timedelta

# Long enough to cover a round trip on a busy machine, short enough that nothing waits long behind what was taken.
AHEAD = timedelta(milliseconds=30)
MOST_AHEAD = 1_000
# How long a measured rate counts: work changes.
MEMORY = timedelta(milliseconds=200)


class Pace:
    """Measures how fast deliveries are decided, and allows as many ahead as would be done in a moment.

    Jobs that take long leave nothing waiting in this process: one each thread, and no more. Jobs that take microseconds
    come by the hundred, because a call for each handful would cost more than the work.

    Args:
        threads: How many work at once.
        fixed: Hold so many instead, if somebody insists.
    """

    def __init__(self, threads: int, *, fixed: int | None = None) -> None:
        self._threads = threads
        self._fixed = fixed
        self._per_second = 0.0
        self._decided = 0
        self._since = time.monotonic()

    @property
    def capacity(self) -> int:
        """How many deliveries may be undecided at once."""
        if self._fixed is not None:
            return self._fixed
        return self._threads + min(int(self._per_second * AHEAD.total_seconds()), MOST_AHEAD)

    def worth_a_call(self, undecided: int) -> bool:
        """Whether there is room enough to fetch: half of what may wait, or a thread that has nothing to do."""
        capacity = self.capacity
        ahead = capacity - self._threads if self._fixed is None else capacity
        return undecided < capacity and (undecided < self._threads or capacity - undecided >= max(1, ahead // 2))

    def decided(self, count: int = 1) -> None:
        """So many deliveries were decided."""
        self._decided += count

    def measure(self) -> None:
        """Look at the clock: once for each fetch is enough."""
        now = time.monotonic()
        passed = now - self._since
        if passed < AHEAD.total_seconds() / 10:
            return
        weight = min(1.0, passed / MEMORY.total_seconds())
        self._per_second += weight * (self._decided / passed - self._per_second)
        self._decided, self._since = 0, now
