"""Watches the jobs of this process, and tells the supervisor how things stand."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dramatiq
import psutil
import structlog
from dramatiq.middleware import Middleware

from backroom.queue.delivery import Delivery
from workers.order import Beat, Order, pack

log = structlog.get_logger()

BEAT_EVERY = timedelta(seconds=1)
# Several within a grace, so that one which is late does not look like silence.
BEATS_IN_A_GRACE = 5
# Dramatiq's own, for an actor that sets none.
TIME_LIMIT_MS = 600_000
STDERR = 2
MIB = 1024 * 1024


@dataclass(kw_only=True, slots=True)
class _Run:
    job: str
    message: str
    limit_ends: float
    dumped: bool = False


class Watch(Middleware):
    """Counts what is done, and finds what is stuck.

    Args:
        order: Whom to tell, and what is too long.
        orphaned: Called once, when there is nobody to tell any more.
    """

    def __init__(self, order: Order, *, orphaned: Callable[[], None]) -> None:
        self._order = order
        self._orphaned = orphaned
        self._grace = order.grace.total_seconds()
        self._every = min(BEAT_EVERY.total_seconds(), self._grace / BEATS_IN_A_GRACE)
        self._ready = False
        self._fresh_mib = 0
        self._done = 0
        self._counting = threading.Lock()
        self._under_way: dict[int, _Run] = {}
        self._news = threading.Event()
        # A supervisor that is stopped reads nothing: that must not hold us up.
        os.set_blocking(order.pipe, False)
        os.set_inheritable(order.pipe, False)  # noqa: FBT003 - the system's signature

    def start(self) -> None:
        """Begin to beat."""
        threading.Thread(target=self._run, name="backroom-watch", daemon=True).start()

    def fresh(self) -> None:
        """Nothing has been done yet, but all is loaded."""
        self._fresh_mib = round(psutil.Process().memory_info().rss / MIB)

    def ready(self) -> None:
        """This process takes messages now."""
        self._ready = True
        self._news.set()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """A job begins in this thread."""
        actor = broker.get_actor(message.actor_name)
        limit_ms: float = message.options.get("time_limit") or actor.options.get("time_limit", TIME_LIMIT_MS)
        self._under_way[threading.get_ident()] = _Run(
            job=message.actor_name, message=message.message_id, limit_ends=time.monotonic() + limit_ms / 1000
        )

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002 - its signature
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002 - its signature
        exception: BaseException | None = None,  # noqa: ARG002 - its signature
    ) -> None:
        """A job has ended in this thread, well or not."""
        if self._under_way.pop(threading.get_ident(), None) is not None:
            with self._counting:
                self._done += len(message.held) if isinstance(message, Delivery) else 1

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """A job was not begun after all."""
        self.after_process_message(broker, message)

    def _run(self) -> None:
        while self._tell():
            self._news.wait(self._every)
            self._news.clear()
        self._orphaned()

    def _tell(self) -> bool:
        beat = Beat(ready=self._ready, done=self._done, stuck=self._find_stuck(), fresh_mib=self._fresh_mib)
        try:
            os.write(self._order.pipe, pack(beat) + b"\n")
        except BlockingIOError:
            # It will see the next one.
            pass
        except OSError:
            return False
        return os.getppid() == self._order.supervisor

    def _find_stuck(self) -> bool:
        late = [run for run in list(self._under_way.values()) if time.monotonic() > run.limit_ends + self._grace]
        fresh = [run for run in late if not run.dumped]
        for run in fresh:
            run.dumped = True
            over = round(time.monotonic() - run.limit_ends)
            log.error("job.stuck", job=run.job, message=run.message, seconds_over=over)
        if fresh:
            # Names of functions and lines, no arguments and no values.
            faulthandler.dump_traceback(STDERR, all_threads=True)
        return bool(late)
