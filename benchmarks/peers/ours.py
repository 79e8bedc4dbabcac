"""Ours: Dramatiq with the broker of this repository."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import uuid_utils

from benchmarks.peers._dramatiq import QUEUE, DramatiqPeer
from benchmarks.peers._jobs import tally
from benchmarks.peers._place import Place, Side

REQUIRES = ()
SIDES = (
    Side(name="ours", jobs=16_000, threads=8, rank=0),
    # For jobs that wait for something, as for stock.
    Side(name="ours, 32 threads", jobs=10_000, threads=32, rank=0),
)

PREFIX = "bench"
BATCH = 500
BATCHES = "batches"
# As many as are kept in memory at a time when a million are sent.
PART = 5_000
ROWS = "CREATE TABLE IF NOT EXISTS bench_rows (id bigint PRIMARY KEY, note text NOT NULL)"
ROW = "INSERT INTO bench_rows (id, note) VALUES (%s, 'done') ON CONFLICT DO NOTHING"
MANY_ROWS = (
    "INSERT INTO bench_rows (id, note) SELECT id, 'done' FROM unnest(%s::bigint[]) AS them (id) ON CONFLICT DO NOTHING"
)


class Ours(DramatiqPeer):
    """Its default middleware. Bulk is one call of `Sender`."""

    def __init__(self, broker: Any, place: Place) -> None:
        from backroom.queue.open import open_client
        from backroom.queue.sender import Sender

        super().__init__(broker, place)
        self._sender = Sender(open_client(place.valkey), prefix=PREFIX)
        self.actors["batch"] = self.actor("batch", _batch, queue=BATCHES, batch=BATCH)
        if place.postgres:
            self._declare_rows(place.postgres)

    def _declare_rows(self, dsn: str) -> None:
        from psycopg_pool import ConnectionPool

        pool = ConnectionPool(dsn, min_size=1, max_size=self.place.threads, open=True)

        def row(message: dict[str, int]) -> None:
            with pool.connection() as connection:
                connection.execute(ROW, [message["n"]])
            tally().count()

        def rows(messages: Sequence[Any]) -> None:
            with pool.connection() as connection:
                connection.execute(MANY_ROWS, [[message.kwargs["message"]["n"] for message in messages]])
            tally().count(len(messages))

        self.actors["row"] = self.actor("row", row, queue="row")
        self.actors["rows"] = self.actor("rows", rows, queue="rows", batch=BATCH)

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the actor."""
        for number in numbers:
            self.actors[job].send(message={"n": number})

    def many(self, job: str, numbers: Sequence[int]) -> None:
        """All in one call of the sender, which makes a call of the engine for every 500."""
        self._send(job, numbers, delay=timedelta(0))

    def later(self, job: str, count: int, due: float) -> None:
        """In bulk, in parts."""
        for at in range(0, count, PART):
            wait = timedelta(seconds=max(0.0, due - time.monotonic()))
            self._send(job, range(at, min(at + PART, count)), delay=wait)

    def _send(self, job: str, numbers: Iterable[int], *, delay: timedelta) -> None:
        from backroom.queue.wire import Post

        queue = self.actors[job].queue_name
        self._sender.send(
            [
                Post(job=job, queue=queue, message={"n": number}, id=str(uuid_utils.uuid7()), delay=delay)
                for number in numbers
            ]
        )


def open_peer(place: Place) -> Ours:
    """The broker as its users have it."""
    import structlog

    from backroom.queue.broker import ValkeyBroker

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    return Ours(ValkeyBroker(place.valkey, prefix=PREFIX), place)


def _batch(messages: Sequence[Any]) -> None:
    tally().count(len(messages))


__all__ = ["BATCH", "BATCHES", "PREFIX", "QUEUE", "REQUIRES", "ROWS", "SIDES", "open_peer"]
