"""Celery on its Redis broker."""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchmarks.peers._jobs import JOBS
from benchmarks.peers._place import Place, Side

REQUIRES = ("celery[redis]>=5.7", "hiredis>=3.3")
SIDES = (
    Side(name="Celery, prefork", jobs=1_500, threads=1, forks=True),
    Side(name="Celery, threads", jobs=1_500, threads=8, rank=2),
)


class Celery:
    """No results, no events, no chatter between workers, a prefetch that keeps it fed; it acknowledges early."""

    def __init__(self, place: Place) -> None:
        import celery

        self._place = place
        self._app = celery.Celery("bench", broker=place.valkey)
        self._app.conf.update(
            task_ignore_result=True,
            worker_prefetch_multiplier=64,
            worker_disable_rate_limits=True,
            worker_hijack_root_logger=False,
            worker_send_task_events=False,
            broker_connection_retry_on_startup=True,
        )
        self._tasks = {name: self._app.task(name=name)(job) for name, job in JOBS.items()}

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the task."""
        task = self._tasks[job]
        for number in numbers:
            task.apply_async((number,))

    def work(self) -> None:
        """Its own command."""
        prefork = self._place.side.endswith("prefork")
        concurrency = self._place.processes if prefork else self._place.threads
        self._app.worker_main(
            [
                *("worker", "--pool", "prefork" if prefork else "threads", "--concurrency", str(concurrency)),
                *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
                *("--hostname", f"{os.getpid()}@bench"),
            ]
        )


open_peer = Celery
