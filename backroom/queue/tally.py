"""Counts of what happens to messages in this process, by queue and job.

Counting is part of every message's way, so it must cost next to nothing: each thread counts for itself without a lock,
and whoever asks adds the threads up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from threading import Lock, local

# In seconds; what takes longer than the last is counted beyond it.
BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
UNKNOWN = "unknown"

# Queue and job.
Of = tuple[str, str]


class Spread:
    """How durations are spread over the bounds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def take_in(self, other: Spread) -> None:
        """All of another one, too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.seconds += other.seconds


class Counts:
    """What happened to the messages of one job in one queue.

    Attributes:
        enqueued: Put on the queue from here, seen for the first time.
        started: Attempts that began.
        done: Messages that are done.
        failed: Attempts that failed, whatever followed.
        retried: Messages that come again after a failed attempt.
        snoozed: Messages that asked to come again later, without a failure.
        dead: Messages that went to the dead letters.
        cancelled: Messages that were stopped on purpose while they ran.
        released: Messages that went back as if they had never been taken.
        wait: From when a message was sent until an attempt began that is no retry.
        run: How long an attempt took; a batch is one.
    """

    NAMES = ("enqueued", "started", "done", "failed", "retried", "snoozed", "dead", "cancelled", "released")
    __slots__ = (*NAMES, "run", "wait")

    def __init__(self) -> None:
        self.enqueued = self.started = self.done = self.failed = self.retried = 0
        self.snoozed = self.dead = self.cancelled = self.released = 0
        self.wait = Spread()
        self.run = Spread()

    def take_in(self, other: Counts) -> None:
        """All of another one, too."""
        for name in self.NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait.take_in(other.wait)
        self.run.take_in(other.run)


class Tally:
    """The counts of this process.

    Args:
        jobs: Names of the jobs there are. Any other is counted as `unknown`, so that nobody can make up names for ever.
    """

    def __init__(self, jobs: Iterable[str] = ()) -> None:
        self._jobs = set(jobs)
        self._mine = local()
        self._threads: list[dict[Of, Counts]] = []
        self._lock = Lock()

    def know(self, job: str) -> None:
        """There is one job more."""
        self._jobs.add(job)

    def of(self, queue: str, job: str) -> Counts:
        """Where this thread counts for a job."""
        try:
            counts: dict[Of, Counts] = self._mine.counts
        except AttributeError:
            counts = self._begin()
        try:
            return counts[queue, job]
        except KeyError:
            of = (queue, job) if job in self._jobs else (UNKNOWN, UNKNOWN)
            return counts.setdefault(of, Counts())

    def total(self) -> dict[Of, Counts]:
        """What all threads have counted."""
        sums: dict[Of, Counts] = {}
        with self._lock:
            threads = list(self._threads)
        for counts in threads:
            # A copy in one step: its thread goes on counting.
            for of, one in list(counts.items()):
                sums.setdefault(of, Counts()).take_in(one)
        return dict(sorted(sums.items()))

    def _begin(self) -> dict[Of, Counts]:
        counts: dict[Of, Counts] = {}
        self._mine.counts = counts
        with self._lock:
            self._threads.append(counts)
        return counts
