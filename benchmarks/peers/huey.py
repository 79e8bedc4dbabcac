"""Huey on Redis, with a blocking read and threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers._jobs import JOBS
from benchmarks.peers._place import Place, Side

REQUIRES = ("huey>=3.5", "redis>=8.1", "hiredis>=3.3")
SIDES = (Side(name="Huey", jobs=4_000, threads=8, rank=1),)


class Huey:
    """No results; it pops a job before it runs it, so nothing is acknowledged."""

    def __init__(self, place: Place) -> None:
        import huey

        self._place = place
        self._huey = huey.RedisHuey("bench", url=place.valkey, results=False)
        self._tasks: dict[str, Any] = {name: self._huey.task(name=name)(job) for name, job in JOBS.items()}

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the task."""
        task = self._tasks[job]
        for number in numbers:
            task(number)

    def work(self) -> None:
        """Its own consumer, without periodic tasks."""
        self._huey.create_consumer(
            workers=self._place.threads, worker_type="thread", periodic=False, graceful_signal="TERM"
        ).run()


open_peer = Huey
