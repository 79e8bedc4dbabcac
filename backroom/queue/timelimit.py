"""Dramatiq's time limit, without its race: a limit that strikes just after the job ended would end the thread, too."""

from __future__ import annotations

import ctypes
import threading
from time import monotonic

import structlog
from dramatiq.middleware import TimeLimit, TimeLimitExceeded, raise_thread_exception
from dramatiq.threading import is_gevent_active

# In seconds. Python may drop an exception that strikes in a callback or a finaliser. Long, for whoever is cleaning up.
STRIKE_AGAIN = 30.0

log = structlog.get_logger()


class SafeTimeLimit(TimeLimit):
    """A `TimeLimit` whose interruption reaches the job that was too long, or nobody."""

    def __init__(self, *, time_limit: float = 600_000, interval: int = 1_000) -> None:
        super().__init__(time_limit=time_limit, interval=interval)
        # With gevent, a timer of its own ends with the job.
        if not is_gevent_active():  # type: ignore[no-untyped-call]  # Dramatiq has no types here
            self.manager = _Manager(interval, logger=self.logger)


# The stock manager's class is private; its instance is not.
class _Manager(type(TimeLimit().manager)):  # type: ignore[misc]  # a class that is found at run time
    def __init__(self, interval: int, *, logger: object) -> None:
        super().__init__(interval, logger=logger)
        self._struck: set[int] = set()

    def _handle_deadlines(self) -> None:
        now = monotonic()
        # The lock is held while the exception is raised, so that a job which ends now is either before or after it.
        with self.mu:
            for thread, deadline in self.deadlines.items():
                if deadline and now >= deadline:
                    log.warning("job.cut", thread=thread)
                    self.deadlines[thread] = now + STRIKE_AGAIN
                    self._struck.add(thread)
                    raise_thread_exception(thread, TimeLimitExceeded)  # type: ignore[no-untyped-call]  # Dramatiq has no types here

    def remove_timeout(self, thread_id: int) -> None:
        try:
            with self.mu:
                self.deadlines[thread_id] = None
                if thread_id in self._struck:
                    self._struck.discard(thread_id)
                    # Raised, but not yet delivered: the job is over, so take it back.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
        except TimeLimitExceeded:
            log.warning("job.cut_late", thread=thread_id)
