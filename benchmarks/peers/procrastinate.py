"""Procrastinate on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers._jobs import ASYNC_JOBS
from benchmarks.peers._loop import runner
from benchmarks.peers._place import Place, Side

REQUIRES = ("procrastinate>=3.10", "psycopg[binary,pool]>=3.3", "redis>=8.1", "hiredis>=3.3", "uvloop>=0.23")
SIDES = (Side(name="Procrastinate", jobs=500, threads=16),)
PART = 500


class Procrastinate:
    """It listens for notifications. Where Valkey may lose a second of jobs, so may PostgreSQL."""

    def __init__(self, place: Place) -> None:
        import procrastinate

        self._place = place
        options = "-c synchronous_commit=" + ("on" if place.durable else "off")
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=place.postgres, kwargs={"options": options}, min_size=1, max_size=8
            )
        )
        self._tasks: dict[str, Any] = {
            name: self._app.task(name=name, queue="bench")(_by_name(job)) for name, job in ASYNC_JOBS.items()
        }
        self._open = False

    def _sender(self) -> None:
        if not self._open:
            self._app.open()
            if not self._app.check_connection():
                self._app.schema_manager.apply_schema()
            self._open = True

    def clear(self) -> None:
        """Drop what other turns left behind."""
        self._sender()
        self._app.connector.get_sync_connector().execute_query("TRUNCATE procrastinate_jobs CASCADE")

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the task."""
        self._sender()
        for number in numbers:
            self._tasks[job].defer(number=number)

    def many(self, job: str, numbers: Sequence[int]) -> None:
        """Its own bulk call."""
        self._sender()
        for at in range(0, len(numbers), PART):
            self._tasks[job].batch_defer(*({"number": number} for number in numbers[at : at + PART]))

    def work(self) -> None:
        """Its own worker."""
        runner().run(self._work())

    async def _work(self) -> None:
        async with self._app.open_async():
            await self._app.run_worker_async(queues=["bench"], concurrency=self._place.threads)


def _by_name(job: Any) -> Any:
    async def run(*, number: int) -> None:
        await job(number)

    return run


open_peer = Procrastinate
