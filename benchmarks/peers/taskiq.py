"""Taskiq on Redis streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.peers._jobs import ASYNC_JOBS, JOBS
from benchmarks.peers._loop import runner
from benchmarks.peers._place import Place, Side

REQUIRES = ("taskiq>=0.13", "taskiq-redis>=1.2", "hiredis>=3.3", "uvloop>=0.23")
SIDES = (
    Side(name="Taskiq, threads", jobs=4_000, threads=100, rank=3),
    Side(name="Taskiq, asynchronous", jobs=4_000, threads=100),
)
SYNC_THREADS = 8


class Taskiq:
    """No result backend. Its group reads from the start, or what was sent before the worker came would be skipped."""

    def __init__(self, place: Place) -> None:
        from taskiq_redis import RedisStreamBroker

        self._place = place
        self._broker = RedisStreamBroker(place.valkey, consumer_id="0")
        self._tasks: dict[str, Any] = {}
        jobs: Mapping[str, Callable[[int], Any]] = JOBS if place.side.endswith("threads") else ASYNC_JOBS
        for name, job in jobs.items():
            self._tasks[name] = self._broker.task(task_name=name)(job)
        self._runner = runner()
        self._started = False

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the task."""
        self._runner.run(self._each(job, numbers))

    async def _each(self, job: str, numbers: Sequence[int]) -> None:
        if not self._started:
            await self._broker.startup()
            self._started = True
        task = self._tasks[job]
        for number in numbers:
            await task.kiq(number)

    def work(self) -> None:
        """What its command runs, in this process."""
        from taskiq.api import run_receiver_task

        self._runner.run(
            run_receiver_task(
                self._broker,
                sync_workers=SYNC_THREADS,
                validate_params=False,
                max_async_tasks=self._place.threads,
                max_prefetch=self._place.threads,
                run_startup=True,
            )
        )


open_peer = Taskiq
