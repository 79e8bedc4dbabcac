"""The lease of one worker process: renewed by a thread of its own, and known to be shaky when the engine is silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from threading import Event, Thread

import redis
import structlog

from backroom.queue.open import Script
from backroom.queue.wire import milliseconds

LONGEST_RETRY = 0.5
LONGEST_GRACE = 2.0
LONGEST_BEAT = 5.0

log = structlog.get_logger()


class Lease:
    """Says to the engine that a worker lives, and to the worker what it may rely on.

    Args:
        script: `beat.lua`.
        worker: Whose lease.
        length: How long the others wait for a sign of life.
        cancel: Told which of its messages somebody wants cancelled.
        alive: Whether the threads that the lease is for still run.

    Attributes:
        length_ms: The same in milliseconds.
        strayed: Whether the engine may count something as ours that we do not know of, or the other way round.
    """

    def __init__(
        self,
        script: Script,
        *,
        worker: str,
        length: timedelta,
        cancel: Callable[[Iterable[bytes]], None],
        alive: Callable[[], bool],
    ) -> None:
        self.strayed = False
        self._cancel = cancel
        self._alive = alive
        self._script = script
        self._worker = worker
        self._length = length
        self.length_ms = milliseconds(length)
        self._contact_since = self._last_contact = time.monotonic()
        self._over = Event()
        self._thread = Thread(target=self._run, name="backroom-lease", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> bool:
        """Renew no more; say whether it was still running."""
        was_running = not self._over.is_set()
        self._over.set()
        # A beat that is under way would bring back a worker that has left.
        self._thread.join(LONGEST_BEAT)
        return was_running

    def heard(self, *, was_gone: bool = False) -> None:
        """The engine answered; `was_gone`: others thought us dead, and took what we held."""
        self._last_contact = now = time.monotonic()
        self._contact_since = min(self._contact_since, now)
        if was_gone:
            self.strayed = True

    def lost(self) -> None:
        """The engine did not answer: what we asked may have been done."""
        self._contact_since = float("inf")
        self.strayed = True

    def stands(self) -> bool:
        """Whether it cannot have ended yet."""
        return time.monotonic() - self._last_contact <= self._length.total_seconds()

    def may_judge(self) -> bool:
        """Whether we may declare others dead.

        After an outage everybody's lease may have ended: let the others come back first.
        """
        grace = min(self._length.total_seconds() / 3, LONGEST_GRACE)
        return time.monotonic() - self._contact_since > grace

    def _run(self) -> None:
        every = self._length.total_seconds() / 3
        wait = every
        while not self._over.wait(wait):
            if not self._alive():
                # Deaf, but not dead: without a lease the others take what it holds.
                log.critical("worker.deaf", worker=self._worker)
                return
            try:
                was_gone, *cancelled = self._script(self._worker, self.length_ms)
            except (redis.RedisError, OSError) as error:
                if wait == every:
                    log.warning("beat.missed", worker=self._worker, error=type(error).__name__)
                self.lost()
                wait = min(every, LONGEST_RETRY)
            else:
                self.heard(was_gone=bool(was_gone))
                self._cancel(cancelled)
                wait = every
