"""RQ, without a fork for each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.peers import _jobs
from benchmarks.peers._place import Place, Side

REQUIRES = ("rq>=3.0", "hiredis>=3.3")
SIDES = (Side(name="RQ", jobs=600, threads=1),)
PART = 500


class Rq:
    """`SimpleWorker` runs one job at a time in its process. Results are not kept."""

    def __init__(self, place: Place) -> None:
        import redis
        from rq import Queue

        self._connection = redis.Redis.from_url(place.valkey)
        self._queue = Queue("bench", connection=self._connection)

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """One call for each."""
        function = _jobs.JOBS[job]
        for number in numbers:
            self._queue.enqueue_call(function, args=(number,), result_ttl=0)

    def many(self, job: str, numbers: Sequence[int]) -> None:
        """Its own bulk call."""
        function: Any = _jobs.JOBS[job]
        for at in range(0, len(numbers), PART):
            part = numbers[at : at + PART]
            self._queue.enqueue_many([self._queue.prepare_data(function, args=(one,), result_ttl=0) for one in part])

    def work(self) -> None:
        """One job at a time."""
        from rq import SimpleWorker

        SimpleWorker([self._queue], connection=self._connection, log_job_description=False).work(logging_level="ERROR")


open_peer = Rq
