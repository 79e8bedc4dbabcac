"""The two brokers of the queue's benchmark, with the same jobs, and the process that works for either."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Literal, Self

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, CurrentMessage, Retries, ShutdownNotifications, TimeLimit

from backroom.queue.broker import ValkeyBroker

Kind = Literal["ours", "stock"]

THREADS = 8
QUEUE = "single"
BATCH_QUEUE = "batches"
BATCH = 500
ANSWER_WITHIN = timedelta(seconds=120)
STOP_WITHIN = timedelta(seconds=20)


def open_broker(kind: Kind, url: str) -> dramatiq.Broker:
    """A broker as its users have it: the middleware does the same on both sides."""
    if kind == "ours":
        return ValkeyBroker(url, prefix="bench")
    middleware = [AgeLimit(), TimeLimit(), ShutdownNotifications(), CurrentMessage(), Retries()]
    return RedisBroker(url=url, namespace="bench", middleware=middleware)  # type: ignore[no-untyped-call]


@dataclass
class Tally:
    """What the jobs of a worker process have seen."""

    ran: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    wanted: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    waited: list[float] = field(default_factory=list)

    def expect(self, count: int) -> None:
        """From now on, so many are enough."""
        self.ran, self.wanted, self.waited = itertools.count(1), count, []
        self.enough.clear()

    def count(self) -> None:
        """One job has run. Taking the next of a counter needs no lock."""
        if next(self.ran) == self.wanted:
            self.enough.set()


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The actors, which can also be sent from here."""

    nothing: dramatiq.Actor[..., Any]
    pick_up: dramatiq.Actor[..., Any]
    batch: dramatiq.Actor[..., Any] | None


def declare(broker: dramatiq.Broker, tally: Tally) -> Jobs:
    """Put the jobs on a broker."""

    def nothing(message: dict[str, int]) -> None:  # noqa: ARG001 - it is the work of a message that is measured
        tally.count()

    def pick_up(message: dict[str, int]) -> None:
        # Both processes read the machine's one monotonic clock.
        tally.waited.append((time.monotonic_ns() - message["sent"]) / 1_000_000)
        tally.count()

    def batch(messages: Sequence[dramatiq.Message[Any]]) -> None:
        for _ in messages:
            tally.count()

    def actor(function: Callable[..., None], queue: str, **options: Any) -> dramatiq.Actor[..., Any]:
        name = function.__name__
        return dramatiq.actor(broker=broker, actor_name=name, queue_name=queue, **options)(function)

    batches = actor(batch, BATCH_QUEUE, batch=BATCH) if isinstance(broker, ValkeyBroker) else None
    return Jobs(nothing=actor(nothing, QUEUE), pick_up=actor(pick_up, QUEUE), batch=batches)


class WorkerProcess:
    """A worker in a process of its own, which begins to work at the first order."""

    def __init__(self, kind: Kind, url: str) -> None:
        # Not forked: a thread of the parent's could hold a lock, and the child would begin with its memory.
        context = get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, kind, url), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> Self:
        """Ready to begin."""
        self._answer()
        return self

    def __exit__(self, *_error: object) -> None:
        """Over."""
        self._here.close()
        self._process.join(STOP_WITHIN.total_seconds())
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def expect(self, count: int) -> None:
        """From now on count so many jobs; the worker starts if it has not yet."""
        self._here.send(count)

    def result(self) -> tuple[float, list[float]]:
        """How many seconds the expected jobs took, and how long each of those that measure it had waited, in ms.

        Raises:
            TimeoutError: They are not all done in time.
            EOFError: The process has ended.
        """
        seconds, waited = self._answer()
        return seconds, waited

    def _answer(self) -> Any:
        if not self._here.poll(ANSWER_WITHIN.total_seconds()):
            raise TimeoutError(f"a worker process has not answered in {ANSWER_WITHIN}")
        return self._here.recv()


def _work(orders: Connection, kind: Kind, url: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    tally = Tally()
    broker = open_broker(kind, url)
    declare(broker, tally)
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    orders.send(None)
    started = False
    try:
        while True:
            tally.expect(orders.recv())
            began = time.perf_counter()
            if not started:
                worker.start()
                started = True
            if not tally.enough.wait(ANSWER_WITHIN.total_seconds()):
                raise TimeoutError(f"{tally.wanted} jobs have not run in {ANSWER_WITHIN}")
            orders.send((time.perf_counter() - began, tally.waited))
    except EOFError:
        # Nobody has orders any more.
        worker.stop()
        broker.close()
