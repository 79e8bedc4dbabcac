"""streaQ on Redis streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers._jobs import ASYNC_JOBS
from benchmarks.peers._loop import runner
from benchmarks.peers._place import Place, Side

REQUIRES = ("streaq>=7.2", "redis>=8.1", "hiredis>=3.3", "uvloop>=0.23")
SIDES = (Side(name="streaQ", jobs=3_000, threads=16),)
PART = 500


class Streaq:
    """Results are not kept."""

    def __init__(self, place: Place) -> None:
        from streaq import Worker

        self._worker: Any = Worker(place.valkey, concurrency=place.threads, anyio_kwargs={"use_uvloop": True})
        self._tasks = {name: self._worker.task(name=name, silent=True, ttl=0)(job) for name, job in ASYNC_JOBS.items()}
        self._runner = runner()
        self._open = False

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the task."""
        self._runner.run(self._each(job, numbers))

    def many(self, job: str, numbers: Sequence[int]) -> None:
        """Its own bulk call."""
        self._runner.run(self._many(job, numbers))

    async def _each(self, job: str, numbers: Sequence[int]) -> None:
        await self._enter()
        task = self._tasks[job]
        for number in numbers:
            await task.enqueue(number)

    async def _many(self, job: str, numbers: Sequence[int]) -> None:
        await self._enter()
        task = self._tasks[job]
        for at in range(0, len(numbers), PART):
            await self._worker.enqueue_many([task.enqueue(number) for number in numbers[at : at + PART]])

    async def _enter(self) -> None:
        if not self._open:
            await self._worker.__aenter__()
            self._open = True

    def work(self) -> None:
        """Its own worker."""
        self._worker.run_sync()


open_peer = Streaq
