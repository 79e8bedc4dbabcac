"""SAQ on Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.peers._jobs import ASYNC_JOBS
from benchmarks.peers._loop import runner
from benchmarks.peers._place import Place, Side

REQUIRES = ("saq[hiredis]>=0.26", "typing-extensions>=4.15", "uvloop>=0.23")
SIDES = (Side(name="SAQ", jobs=2_000, threads=32),)


class Saq:
    """Finished jobs are not kept. Its `map` waits for the outcomes, so it has no bulk."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._runner = runner()
        self._queue: Any = None

    async def _open(self) -> Any:
        from saq import Queue

        if self._queue is None:
            self._queue = Queue.from_url(self._place.valkey)
            await self._queue.connect()
        return self._queue

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """One call for each."""
        self._runner.run(self._each(job, numbers))

    async def _each(self, job: str, numbers: Sequence[int]) -> None:
        queue = await self._open()
        for number in numbers:
            await queue.enqueue(job, number=number, ttl=-1)

    def work(self) -> None:
        """Its own worker."""
        self._runner.run(self._work())

    async def _work(self) -> None:
        from saq import Worker

        functions = [(name, _with_context(job)) for name, job in ASYNC_JOBS.items()]
        await Worker(await self._open(), functions, concurrency=self._place.threads).start()


def _with_context(job: Callable[[int], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(_context: Any, *, number: int) -> None:
        await job(number)

    return run


open_peer = Saq
