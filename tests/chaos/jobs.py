"""What is asked in a chaos run, the same for both arms: each job's effect is one row in PostgreSQL."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import dramatiq
import psycopg

from backroom.domain.backoff import Backoff
from backroom.domain.errors import StoreAway
from backroom.domain.limits import Limit, Priority
from backroom.queue.faults import point
from backroom.queue.wire import Post

Arm = Literal["ours", "stock"]
Kind = Literal["plain", "batch", "ordered", "later", "fails", "fails_after", "limited"]

# Of twenty jobs in a row.
MIX: tuple[Kind, ...] = (
    *("plain",) * 9,
    *("batch",) * 5,
    *("ordered",) * 2,
    *("later", "fails", "fails_after", "limited"),
)
QUEUES = ("plain", "batch", "ordered", "later", "fails", "limited")
# Priorities and applications, cycled with different lengths so that all pairs come up.
PRIORITIES: tuple[Priority, ...] = ("normal", "urgent", "normal", "bulk")
APPS = ("", "shop", "news", "bank", "club")
FAILS = 0.3
BACKOFF = Backoff(first=timedelta(milliseconds=200), longest=timedelta(seconds=2))
LIMIT = Limit(name="few", concurrent=4)

TABLES = """
CREATE TABLE once (id text PRIMARY KEY);
CREATE TABLE effects (seq bigserial, n integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE runs (n integer NOT NULL, worker text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
"""

# The house's way: the effect happens where the message's id is new, and both commit together. Every run is written down
# beside it, where no constraint could hide a second one.
EFFECT = """
WITH asked AS (SELECT * FROM unnest(%(ids)s::text[], %(numbers)s::integer[]) WITH ORDINALITY AS a(id, n, place)),
     fresh AS (INSERT INTO once SELECT id FROM asked ORDER BY place ON CONFLICT DO NOTHING RETURNING id),
     effect AS (INSERT INTO effects (n) SELECT n FROM asked JOIN fresh USING (id) ORDER BY place)
INSERT INTO runs (n, worker) SELECT n, %(worker)s FROM asked
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One of the jobs of a run; everything follows from its number."""

    n: int

    @property
    def kind(self) -> Kind:
        return MIX[self.n % len(MIX)]

    @property
    def id(self) -> str:
        return f"job-{self.n}"

    @property
    def queue(self) -> str:
        return "fails" if self.kind == "fails_after" else self.kind

    @property
    def delay(self) -> timedelta:
        return timedelta(milliseconds=200 + self.n * 37 % 3000) if self.kind == "later" else timedelta(0)

    def post(self) -> Post:
        """As our sender takes it. Order is total only within one application and priority."""
        alone = self.kind == "ordered"
        return Post(
            job=self.kind,
            queue=self.queue,
            message={"n": self.n},
            id=self.id,
            delay=self.delay,
            priority="normal" if alone else PRIORITIES[self.n // len(MIX) % len(PRIORITIES)],
            app="" if alone else APPS[self.n // len(MIX) % len(APPS)],
            limits=(LIMIT.name,) if self.kind == "limited" else (),
        )

    def message(self) -> dramatiq.Message[Any]:
        """As stock Dramatiq takes it."""
        return dramatiq.Message(
            queue_name=self.queue,
            actor_name=self.kind,
            args=(),
            kwargs={"message": {"n": self.n}},
            options={},
            message_id=self.id,
        )


def numbers_of(sender: int, *, senders: int, jobs: int) -> list[int]:
    """Which jobs a sender sends. Order is kept by one who sends it, so all ordered ones are the first sender's."""
    return [n for n in range(jobs) if (0 if MIX[n % len(MIX)] == "ordered" else n // len(MIX) % senders) == sender]


class Effects:
    """Writes rows, with a connection for each thread."""

    def __init__(self, database_url: str, *, worker: str) -> None:
        self._url = database_url
        self._worker = worker
        self._mine = threading.local()
        self._all: list[psycopg.Connection[Any]] = []

    def write(self, jobs: Sequence[Job]) -> None:
        """Carry out the effect of these jobs, each once, and note that they ran.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        if not jobs:
            return
        values = {"ids": [job.id for job in jobs], "numbers": [job.n for job in jobs], "worker": self._worker}
        try:
            self._connection().execute(EFFECT, values)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._drop_connection()
            raise StoreAway(type(error).__name__) from error
        point("after_effect")

    def _connection(self) -> psycopg.Connection[Any]:
        connection = getattr(self._mine, "connection", None)
        if connection is None:
            self._mine.connection = connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
            self._all.append(connection)
        return connection

    def _drop_connection(self) -> None:
        connection = getattr(self._mine, "connection", None)
        # There is none where PostgreSQL does not even let us in.
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()
        self._mine.connection = None

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._all:
            connection.close()


def declare(broker: dramatiq.Broker, effects: Effects, *, arm: Arm) -> None:
    """Declare every kind on a broker. Stock has neither batches nor order nor limits, so there these run one by one."""
    chance = random.Random()

    def one(message: dict[str, int]) -> None:
        # As if it had something to do, so that a worker that is killed has its hands full.
        time.sleep(0.001 * (message["n"] % 16))
        effects.write([Job(n=message["n"])])

    def batch(messages: list[dramatiq.Message[Any]]) -> None:
        jobs = sorted((Job(n=held.kwargs["message"]["n"]) for held in messages), key=lambda job: job.n)
        # In two transactions, so that one can die between.
        effects.write(jobs[::2])
        point("mid_batch")
        effects.write(jobs[1::2])

    def ordered(messages: list[dramatiq.Message[Any]]) -> None:
        effects.write([Job(n=held.kwargs["message"]["n"]) for held in messages])

    def fails(message: dict[str, int]) -> None:
        if chance.random() < FAILS:
            raise RuntimeError("before the effect")
        one(message)

    def fails_after(message: dict[str, int]) -> None:
        one(message)
        if chance.random() < FAILS:
            raise RuntimeError("after the effect")

    stock = arm == "stock"
    usual: dict[str, Any] = (
        {"min_backoff": 200, "max_backoff": 2000, "max_retries": None} if stock else {"backoff": BACKOFF}
    )
    more: dict[Kind, tuple[Any, dict[str, Any]]] = {
        "plain": (one, {}),
        "batch": (one, {}) if stock else (batch, {"batch": 100, "linger_ms": 20}),
        "ordered": (one, {}) if stock else (ordered, {"batch": 25, "ordered": True}),
        "later": (one, {}),
        "fails": (fails, {}),
        "fails_after": (fails_after, {}),
        "limited": (one, {} if stock else {"limits": [LIMIT]}),
    }
    for kind, (function, options) in more.items():
        queue = Job(n=MIX.index(kind)).queue
        dramatiq.actor(function, broker=broker, actor_name=kind, queue_name=queue, **usual, **options)
