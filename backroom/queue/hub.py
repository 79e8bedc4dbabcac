"""Where messages come into a process: fetched for all its queues, handed out, kept under one lease, and settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread

import redis
import structlog

from backroom.domain.limits import Limit
from backroom.queue.decisions import Release
from backroom.queue.delivery import Delivery
from backroom.queue.fetcher import Fetcher
from backroom.queue.handout import Handout
from backroom.queue.lease import Lease
from backroom.queue.load import Load
from backroom.queue.open import Script
from backroom.queue.opening import Opener
from backroom.queue.pace import Pace
from backroom.queue.rows import Row
from backroom.queue.settler import Settlement, Settler

FLUSH = timedelta(seconds=5)
LONGEST_STEP_WHEN_STOPPING = 0.05

log = structlog.get_logger()


class Hub:
    """Fetches for every queue that is consumed in this process, hands out, and keeps the leases.

    Args:
        client: Its connections; they must not repeat commands by themselves.
        prefix: What every key starts with.
        lease: How long the others wait for a sign of life.
        worker: A name that no other worker has ever had.
        opener: Knows the jobs of this process.
        limits: Those that jobs declare here.
        handout: Where a worker's threads take deliveries from; None where consumers are asked one by one.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str,
        lease: timedelta,
        worker: str,
        opener: Opener,
        limits: Callable[[], Iterable[Limit]],
        handout: Handout | None,
    ) -> None:
        self.worker = worker
        self._opener = opener
        self._handout = handout
        self._threads = handout.threads if handout else 0
        self._queues: dict[str, SimpleQueue[Delivery]] = {}
        # Those whose consumer has asked: only then can what is fetched for them be settled.
        self._asking: set[str] = set()
        self._load = Load(Pace(self._threads), worker=worker, wanted=self._wants)
        self._begin, self._leave = (Script(client, name, prefix=prefix) for name in ("begin", "leave"))
        settle = Script(client, "settle", prefix=prefix)
        self._settler = Settler(settle, worker=worker, settled=self._load.settled)
        self._lease = Lease(
            Script(client, "beat", prefix=prefix),
            worker=worker,
            length=lease,
            cancel=self._load.cancel,
            alive=lambda: self._fetcher.alive and self._settler.alive,
        )
        self._fetcher = Fetcher(
            client,
            prefix=prefix,
            worker=worker,
            lease=self._lease,
            load=self._load,
            queues=lambda: list(self._asking),
            lane=opener.lane,
            limits=limits,
            bring=self._bring,
        )
        if handout:
            handout.watch(lambda: self._load.undecided, self._load.wait_until_decided)

    def start(self) -> None:
        """Start the threads."""
        self._settler.start()
        self._fetcher.start()
        self._lease.start()

    # Taking

    def consume(self, queue: str, *, prefetch: int) -> None:
        """Begin to fetch for a queue, as soon as somebody asks for it."""
        with self._load.room:
            self._queues.setdefault(queue, SimpleQueue())
            # What Dramatiq takes without being told is the signal to find out by ourselves.
            if prefetch != 2 * self._threads:
                self._load.pace = Pace(self._threads, fixed=prefetch)

    def next(self, queue: str, *, timeout: float) -> Delivery | None:
        """The next delivery of a queue, waiting at most so many seconds; what threads take is not seen here."""
        deliveries = self._queues.get(queue)
        if deliveries is None:
            return None
        if queue not in self._asking:
            self._ask_for(queue)
        stopping = self._fetcher.stopping.is_set()
        try:
            return deliveries.get(timeout=min(timeout, LONGEST_STEP_WHEN_STOPPING) if stopping else timeout)
        except Empty:
            if self._handout and self._handout.paused:
                self._handout.nudge()
            return None

    def _ask_for(self, queue: str) -> None:
        with self._load.room:
            self._asking.add(queue)
            self._load.room.notify_all()
        self._fetcher.interrupt()

    def _wants(self) -> bool:
        return bool(self._asking) and not (self._handout and self._handout.paused)

    def _bring(self, rows: Sequence[Row]) -> None:
        opened = self._opener.open(rows, holder=self)
        for order in opened.decided:
            self._load.enter_decided(order)
            self._settler.add(Settlement(orders=[order]))
        unwanted = []
        with self._load.room:
            for delivery in opened.deliveries:
                self._load.enter(delivery)
                taker = self._queues.get(delivery.queue_name)
                if taker is None or self._fetcher.stopping.is_set():
                    unwanted.append(delivery)
                else:
                    # Under the lock: who drops the queue next will find it there.
                    (self._handout or taker).put(delivery)
        self._release(unwanted)

    # Working

    def begin(self, delivery: Delivery) -> bool:
        """Whether a delivery is still ours to begin, as far as we can know."""
        if not self._lease.stands():
            return False
        suspects = []
        for held in delivery.held:
            if not self._load.holds(held.message.message_id, held.token):
                return False
            if held.nth > 1:
                suspects.append(held)
        if not suspects:
            return True
        # Whoever had it before may have died of it: say that it begins, so that its death would count.
        marks = [value for held in suspects for value in (held.message.message_id, held.token)]
        try:
            return bool(self._begin(self.worker, len(suspects), *marks))
        except (redis.RedisError, OSError):
            return False

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message that we hold cancelled."""
        return self._load.cancelled(id)

    def settle(self, delivery: Delivery) -> None:
        """Have what was decided about a delivery carried out."""
        if self._load.decide(delivery):
            self._settler.add(Settlement(orders=delivery.orders(), delivery=delivery))

    def _release(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            delivery.decide(Release())
            self.settle(delivery)

    # Leaving

    def hand_back(self, deliveries: Iterable[Delivery] = ()) -> None:
        """Fetch no more, and return at once what nobody has begun."""
        self._fetcher.stop()
        self._release([*deliveries, *(found for queue in list(self._queues.values()) for found in _drain(queue))])

    def drop(self, queue: str) -> bool:
        """Stop to consume a queue; say whether it was the last."""
        with self._load.room:
            deliveries = self._queues.pop(queue, None)
            self._asking.discard(queue)
            left = len(self._queues)
        self._release(_drain(deliveries) if deliveries else ())
        return left == 0

    def close(self, *, within: timedelta = FLUSH) -> None:
        """Hand back, wait until what runs is settled, and leave. What still runs after the wait keeps its lease."""
        self.hand_back()
        if self._load.wait_until_settled(within.total_seconds()):
            self._go()
        else:
            Thread(target=self._go_when_settled, name="backroom-leave", daemon=True).start()

    def abandon(self) -> None:
        """Leave now, whatever still runs: the process is about to end."""
        self._fetcher.stop()
        self._go()

    def _go_when_settled(self) -> None:
        self._load.wait_until_settled()
        self._go()

    def _go(self) -> None:
        if not self._lease.end():
            return
        self._settler.close(within=FLUSH)
        try:
            back = self._leave(self.worker)
        except (redis.RedisError, OSError) as error:
            log.warning("worker.left_unheard", worker=self.worker, error=type(error).__name__)
        else:
            log.info("worker.left", worker=self.worker, handed_back=back)


def _drain(queue: SimpleQueue[Delivery]) -> Iterator[Delivery]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
