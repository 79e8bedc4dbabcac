"""ARQ, which polls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.peers._jobs import ASYNC_JOBS
from benchmarks.peers._loop import runner
from benchmarks.peers._place import Place, Side

REQUIRES = ("arq>=0.28", "hiredis>=3.3", "uvloop>=0.23")
SIDES = (Side(name="ARQ", jobs=1_500, threads=50),)
# Half a second by default, which then bounds its rate as well as its pick-up.
POLL_SECONDS = 0.02


class Arq:
    """No results."""

    def __init__(self, place: Place) -> None:
        from arq.connections import RedisSettings

        self._place = place
        self._settings = RedisSettings.from_dsn(place.valkey)
        self._runner = runner()
        self._pool: Any = None

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """One call for each."""
        self._runner.run(self._each(job, numbers))

    async def _each(self, job: str, numbers: Sequence[int]) -> None:
        from arq import create_pool

        if self._pool is None:
            self._pool = await create_pool(self._settings)
        for number in numbers:
            await self._pool.enqueue_job(job, number)

    def work(self) -> None:
        """Its own worker."""
        from arq.worker import Worker, func

        self._runner.run(_begin())
        asyncio.set_event_loop(self._runner.get_loop())
        Worker(
            functions=[func(_with_context(job), name=name) for name, job in ASYNC_JOBS.items()],
            redis_settings=self._settings,
            max_jobs=self._place.threads,
            poll_delay=POLL_SECONDS,
            keep_result=0,
            log_results=False,
        ).run()


async def _begin() -> None:
    """Makes the loop that the worker asks for."""


def _with_context(job: Callable[[int], Awaitable[None]]) -> Callable[[Any, int], Awaitable[None]]:
    async def run(_context: Any, number: int) -> None:
        await job(number)

    return run


open_peer = Arq
