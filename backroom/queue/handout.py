"""Where a worker's threads take deliveries from, straight from the hub, in the place of Dramatiq's `work_queue`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from threading import Lock, current_thread
from typing import TYPE_CHECKING, Literal, NamedTuple

from dramatiq.worker import WorkerThread

if TYPE_CHECKING:
    from dramatiq import Worker

    from backroom.queue.delivery import Delivery


# Stands in line for whatever is first among those that have a rank.
_RANKED: Literal["ranked"] = "ranked"


class Item(NamedTuple):
    """What Dramatiq's threads expect to find in their queue."""

    message: Delivery


class Handout:
    """Stands in for the `PriorityQueue` of a `dramatiq.Worker`, as far as a worker uses it.

    As there, who has the lower priority goes first. Most have none, and cost next to nothing.

    Args:
        worker: Whose threads take from here.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiting: SimpleQueue[Delivery | Literal["ranked"] | None] = SimpleQueue()
        self._ranked: list[tuple[int, int, Delivery]] = []
        self._numbers = count()
        # For those that came before all of them.
        self._earlier = count(-sys.maxsize)
        self._lock = Lock()
        self._stopping = False
        self._unfinished: Callable[[], int] = int
        self._join: Callable[[], None] = lambda: None
        self.threads = worker.worker_threads

    def watch(self, unfinished: Callable[[], int], join: Callable[[], None]) -> None:
        """Who knows what is not decided yet, and can wait for it."""
        self._unfinished, self._join = unfinished, join

    def put(self, delivery: Delivery) -> None:
        """Give one out."""
        actor = self._worker.broker.actors.get(delivery.actor_name)
        rank = actor.priority if actor else 0
        if not rank and not self._ranked:
            self._waiting.put(delivery)
            return
        with self._lock:
            heappush(self._ranked, (rank, next(self._numbers), delivery))
        self._waiting.put(_RANKED)

    def _first(self, delivery: Delivery | Literal["ranked"]) -> Delivery:
        """What goes first, where this one is next in line."""
        if not self._ranked and not isinstance(delivery, str):
            return delivery
        with self._lock:
            # Each place in the line is for one of them, whoever took it.
            if not isinstance(delivery, str):
                heappush(self._ranked, (0, next(self._earlier), delivery))
            return heappop(self._ranked)[-1]

    @property
    def paused(self) -> bool:
        """Whether the worker wants nothing just now."""
        # A copy, made in one step: the worker may still be adding consumers.
        return any(consumer.paused for consumer in list(self._worker.consumers.values()))

    @property
    def unfinished_tasks(self) -> int:
        """How many deliveries are not decided yet."""
        return self._unfinished()

    def get(self, block: bool = True, timeout: float | None = None) -> Item:  # noqa: FBT001, FBT002 - `queue.Queue`'s
        """The next delivery, waiting for it.

        Raises:
            queue.Empty: There is none in time.
        """
        if self._stopping:
            # One that starts only now has missed being told to stop, and would be waited for in vain.
            thread = current_thread()
            if isinstance(thread, WorkerThread):
                thread.running = False
            raise Empty
        delivery = self._waiting.get(block, timeout)
        if delivery is None:
            raise Empty
        return Item(self._first(delivery))

    def get_nowait(self) -> Item:
        """The next delivery, if there is one.

        Raises:
            queue.Empty: There is none.
        """
        while (delivery := self._waiting.get_nowait()) is None:
            pass
        return Item(self._first(delivery))

    def nudge(self) -> None:
        """Have every thread that waits look up.

        In CPython 3.11 a `SimpleQueue` that several threads wait on may forget a time-out that has passed just when
        another thread was quicker (https://github.com/python/cpython/blob/3.11/Modules/_queuemodule.c): the thread then
        waits for the next item, however long that takes.
        """
        for _ in range(self.threads):
            self._waiting.put(None)

    def stop(self) -> None:
        """Give out nothing more; the threads end."""
        self._stopping = True
        self.nudge()

    def qsize(self) -> int:
        """How many deliveries nobody has taken yet."""
        return self._waiting.qsize()

    def task_done(self) -> None:
        """A delivery is counted when it is decided, so there is nothing to do."""

    def join(self) -> None:
        """Wait until every delivery is decided."""
        self._join()
