"""Where messages come into a process: one blocking wait for all its queues, one lease for all that it holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Condition, Event, Thread
from typing import Any, Literal

import redis
import structlog
from dramatiq import Message

from backroom.domain.errors import Invalid
from backroom.domain.limits import Limit
from backroom.queue.decisions import Again, Dead, Decision, Done, Release
from backroom.queue.delivery import MOST_REASON_CHARS, Delivery, Held, Lane, Order, order
from backroom.queue.faults import point
from backroom.queue.handout import Handout
from backroom.queue.lease import Lease
from backroom.queue.open import Script, base
from backroom.queue.pace import Pace
from backroom.queue.rows import Row, adopted, fetched, in_deliveries
from backroom.queue.settler import Settlement, Settler
from backroom.queue.wire import decode, milliseconds

LONGEST_WAIT = 1.0
LONGEST_RECONNECT = 1.0
LONGEST_ENGINE_PAUSE = 5.0
FLUSH = timedelta(seconds=5)
PARK = timedelta(seconds=30)
LONGEST_PARKED = timedelta(hours=24)
MOST_UNSETTLED = 4  # times the capacity
HEADER = 8
LIMIT_FIELDS = 5

Kind = Literal["one", "batch", "unknown"]

log = structlog.get_logger()


class Hub:
    """Fetches for every queue that is consumed in this process, hands out, and keeps the leases.

    Args:
        client: Its connections; they must not repeat commands by themselves.
        prefix: What every key starts with.
        lease: How long the others wait for a sign of life.
        worker: A name that no other worker has ever had.
        lane: How a queue's messages travel.
        limits: Those that jobs declare here.
        kind: Whether a job takes one message or a batch here, or is unknown.
        handout: Where a worker's threads take deliveries from; None where consumers are asked one by one.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str,
        lease: timedelta,
        worker: str,
        lane: Callable[[str], Lane],
        limits: Callable[[], Iterable[Limit]],
        kind: Callable[[str], Kind],
        handout: Handout | None = None,
    ) -> None:
        self.worker = worker
        self._client = client
        self._base = base(prefix)
        self._lease_ms = milliseconds(lease)
        self._lease = Lease(Script(client, "beat", prefix=prefix), worker=worker, length=lease, cancel=self._cancel)
        self._lane = lane
        self._limits = limits
        self._kind = kind
        self._fetch, self._begin, self._adopt, self._leave = (
            Script(client, name, prefix=prefix) for name in ("fetch", "begin", "adopt", "leave")
        )
        self._settler = Settler(Script(client, "settle", prefix=prefix), worker=worker, settled=self._settled)
        socket_timeout = client.get_connection_kwargs().get("socket_timeout") or 2 * LONGEST_WAIT
        self._longest_wait = min(LONGEST_WAIT, socket_timeout / 2)

        # Guards everything below, and is notified whenever there may be room for more.
        self._room = Condition()
        self._queues: dict[str, SimpleQueue[Delivery]] = {}
        # Those whose consumer has asked: only then can what is fetched for them be settled.
        self._asking: set[str] = set()
        self._handout = handout
        self._pace = Pace(handout.threads if handout else 0)
        if handout:
            handout.watch(lambda: self._undecided, self._wait_until_decided)
        # Deliveries that nobody has decided about, and those whose settlement the engine has not confirmed: the next
        # fetch need not wait for the last acknowledgement.
        self._undecided = 0
        self._in_flight = 0
        self._held: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._settled_meanwhile: set[int] | None = None
        self._fetch_waits = False
        self._engine_pause = 0.0
        self._paused_until = 0.0
        self._stopping = Event()
        self._thread = Thread(target=self._run_fetch, name="backroom-fetch", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._settler.start()
        self._lease.start()
        self._thread.start()

    def consume(self, queue: str, *, prefetch: int) -> None:
        """Begin to fetch for a queue, as soon as somebody asks for it."""
        with self._room:
            self._queues.setdefault(queue, SimpleQueue())
            threads = self._handout.threads if self._handout else 0
            # What Dramatiq takes without being told is the signal to find out by ourselves.
            if prefetch != 2 * threads:
                self._pace = Pace(threads, fixed=prefetch)

    def next(self, queue: str, *, timeout: float) -> Delivery | None:
        """The next delivery of a queue, waiting at most so many seconds; what threads take is not seen here."""
        deliveries = self._queues.get(queue)
        if deliveries is None:
            return None
        if queue not in self._asking:
            self._ask_for(queue)
        try:
            return deliveries.get(timeout=min(timeout, 0.05) if self._stopping.is_set() else timeout)
        except Empty:
            return None

    def _ask_for(self, queue: str) -> None:
        with self._room:
            self._asking.add(queue)
            self._room.notify_all()
        self._interrupt_wait()

    def resume(self) -> None:
        """The worker goes on after a pause."""
        with self._room:
            self._room.notify_all()

    def begin(self, delivery: Delivery) -> bool:
        """Whether a delivery is still ours to begin, as far as we can know."""
        if not self._lease.stands():
            return False
        suspects = []
        for held in delivery.held:
            if self._held.get(held.message.message_id) != held.token:
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

    def settle(self, delivery: Delivery) -> None:
        """Have what was decided about a delivery carried out."""
        point("after_job")
        decision = delivery.otherwise
        with self._room:
            if delivery.settled:
                return
            delivery.settled = True
            self._undecided -= 1
            self._pace.decided()
            if isinstance(decision, Release) and decision.engine_away:
                self._pause()
            elif decision is None or isinstance(decision, Done):
                self._engine_pause = 0.0
            if not self._undecided or (self._fetch_waits and self._pace.worth_a_call(self._undecided)):
                self._room.notify_all()
        self._settler.add(Settlement(orders=delivery.orders(), delivery=delivery))

    def _wait_until_decided(self) -> None:
        with self._room:
            self._room.wait_for(lambda: not self._undecided)

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message that we hold cancelled."""
        return id in self._cancelled

    def hand_back(self, deliveries: Iterable[Delivery] = ()) -> None:
        """Fetch no more, and return at once what nobody has begun."""
        self._stop_fetching()
        waiting = [*deliveries, *(found for queue in list(self._queues.values()) for found in _drain(queue))]
        for delivery in waiting:
            delivery.decide(Release())
            self.settle(delivery)

    def drop(self, queue: str) -> bool:
        """Stop to consume a queue; say whether it was the last."""
        with self._room:
            deliveries = self._queues.pop(queue, None)
            self._asking.discard(queue)
            left = len(self._queues)
        for delivery in _drain(deliveries) if deliveries else ():
            delivery.decide(Release())
            self.settle(delivery)
        return left == 0

    def close(self, *, within: timedelta = FLUSH) -> None:
        """Hand back, wait until what runs is settled, and leave. What still runs after the wait keeps its lease."""
        self.hand_back()
        with self._room:
            empty = self._room.wait_for(lambda: not self._in_flight, within.total_seconds())
        if empty:
            self._go()
        else:
            Thread(target=self._go_when_empty, name="backroom-leave", daemon=True).start()

    def abandon(self) -> None:
        """Leave now, whatever still runs: the process is about to end."""
        self._stop_fetching()
        self._go()

    # -- leaving

    def _stop_fetching(self) -> None:
        with self._room:
            self._stopping.set()
            self._room.notify_all()
        self._interrupt_wait()
        self._thread.join(self._longest_wait)

    def _go_when_empty(self) -> None:
        with self._room:
            self._room.wait_for(lambda: not self._in_flight)
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

    def _interrupt_wait(self) -> None:
        key = self._own_wake_key()
        try:
            with self._client.pipeline(transaction=True) as steps:
                steps.rpush(key, "1")
                steps.pexpire(key, 2000)
                steps.execute()
        except (redis.RedisError, OSError):
            # Nobody is waiting where nobody answers.
            return

    def _own_wake_key(self) -> str:
        return f"{self._base}wake!{self.worker}"

    # -- fetching

    def _run_fetch(self) -> None:
        wait, reconnect, turn = 0.0, 0.05, 0
        while not self._stopping.is_set():
            if not self._free_room(block=True):
                continue
            try:
                if self._lease.strayed:
                    self._adopt_strays()
                if wait > 0:
                    self._wait_for_messages(wait)
                free = self._free_room(block=False)
                if not free:
                    continue
                turn += 1
                wait = self._fetch_once(free, turn)
                reconnect = 0.05
            except (redis.RedisError, OSError) as error:
                if reconnect == 0.05:  # noqa: PLR2004 - the first of a row
                    log.warning("queue.away", worker=self.worker, error=type(error).__name__)
                self._lease.lost()
                self._stopping.wait(reconnect)
                reconnect = min(reconnect * 2, LONGEST_RECONNECT)

    def _free_room(self, *, block: bool) -> int:
        """How many deliveries may be fetched. In small steps it would not be worth a call, so wait for some."""
        with self._room:
            while not self._stopping.is_set():
                pause = self._paused_until - time.monotonic()
                if self._asking and pause <= 0 and self._wants_more():
                    # While an engine is away, one message is enough to see whether it is back.
                    return 1 if self._engine_pause else self._pace.capacity - self._undecided
                if not block:
                    return 0
                self._fetch_waits = True
                self._room.wait(pause if pause > 0 else None)
                self._fetch_waits = False
        return 0

    def _wants_more(self) -> bool:
        if self._in_flight >= MOST_UNSETTLED * self._pace.capacity or (self._handout and self._handout.paused):
            return False
        return self._pace.worth_a_call(self._undecided)

    def _pause(self) -> None:
        now = time.monotonic()
        if now >= self._paused_until:
            self._engine_pause = min(max(1.0, self._engine_pause * 2), LONGEST_ENGINE_PAUSE)
            self._paused_until = now + self._engine_pause
            log.warning("fetch.paused", worker=self.worker, seconds=self._engine_pause)

    def _wait_for_messages(self, seconds: float) -> None:
        keys = [self._own_wake_key(), *(f"{self._base}wake:{queue}" for queue in list(self._asking))]
        self._client.blpop(keys, timeout=min(seconds, self._longest_wait))

    def _fetch_once(self, free: int, turn: int) -> float:
        self._pace.measure()
        queues = list(self._asking)
        # Who is asked first changes, so that no queue is always served last.
        turn %= max(1, len(queues))
        lanes: list[str | int] = []
        for queue in queues[turn:] + queues[:turn]:
            lane = self._lane(queue)
            lanes += [queue, lane.batch, milliseconds(lane.linger), int(lane.ordered)]
        limits = [value for limit in self._limits() for value in _limit_arguments(limit)]
        judges = int(self._lease.may_judge())
        numbers = (free, judges, len(limits) // LIMIT_FIELDS, len(queues))
        reply = self._fetch(self.worker, self._lease_ms, *numbers, *limits, *lanes)
        point("after_fetch")
        due, more, dead, back, poison, was_gone, expired, asked = reply[:HEADER]
        self._lease.heard(was_gone=bool(was_gone and self._held))
        if dead:
            log.warning("worker.dead", by=self.worker, workers=dead, messages_back=back, poison=poison)
        if expired:
            log.info("message.expired", by=self.worker, count=expired)
        self._cancel(reply[HEADER : HEADER + asked])
        self._hand_out(fetched(reply[HEADER + asked :]))
        if more:
            return 0.0
        return self._longest_wait if due < 0 else max(0.001, due / 1000)

    def _cancel(self, ids: Iterable[bytes]) -> None:
        with self._room:
            self._cancelled |= {id.decode() for id in ids}

    def _adopt_strays(self) -> None:
        with self._room:
            self._settled_meanwhile = set()
        # Before the question: what goes astray after it needs another.
        self._lease.strayed = False
        rows = adopted(self._adopt(self.worker))
        with self._room:
            there = {row.id: row.token for row in rows}
            # What we hold and the engine does not know of has been given to somebody else.
            self._held = {id: token for id, token in self._held.items() if there.get(id) == token}
            rows = [row for row in rows if row.id not in self._held and row.token not in self._settled_meanwhile]
            self._settled_meanwhile = None
        self._lease.heard()
        if rows:
            log.info("worker.adopted", worker=self.worker, messages=len(rows))
            self._hand_out(in_deliveries(rows, self._lane))

    def _hand_out(self, rows: Sequence[Row]) -> None:
        deliveries: list[Delivery] = []
        batches: dict[tuple[str, int, str], list[Held]] = defaultdict(list)
        for row in rows:
            held = self._open(row)
            if held is None:
                continue
            job, lane = held.message.actor_name, self._lane(row.queue)
            kind = self._kind(job)
            if kind == "one":
                deliveries.append(Delivery((held,), hub=self, lane=lane, batch=False))
            elif kind == "batch":
                batches[row.queue, row.delivery, job].append(held)
            else:
                log.warning("job.unknown", job=job, queue=row.queue, id=row.id)
                self._settle_unseen(held, _parked(held.message), lane)
        for (queue, _, _), helds in batches.items():
            deliveries.append(Delivery(tuple(helds), hub=self, lane=self._lane(queue), batch=True))
        self._deliver(deliveries)

    def _open(self, row: Row) -> Held | None:
        queue, _, id, token, nth, body = row
        try:
            envelope = decode(body, id=id)
        except Invalid as error:
            log.warning("message.undecodable", id=id, queue=queue)
            with self._room:
                self._in_flight += 1
                self._held[id] = token
            reason = str(error)[:MOST_REASON_CHARS]
            self._settler.add(Settlement(orders=[Order(what="dead", id=id, token=token, note=reason)]))
            return None
        message: Message[Any] = Message(
            queue_name=queue,
            actor_name=envelope.actor_name,
            args=tuple(envelope.args),
            kwargs=envelope.kwargs,
            options=envelope.options,
            message_id=id,
            message_timestamp=envelope.message_timestamp,
        )
        return Held(message=message, token=token, nth=nth)

    def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        unwanted = []
        with self._room:
            for delivery in deliveries:
                self._undecided += 1
                self._in_flight += 1
                for held in delivery.held:
                    self._held[held.message.message_id] = held.token
                taker = self._queues.get(delivery.queue_name)
                if taker is None or self._stopping.is_set():
                    unwanted.append(delivery)
                else:
                    # Under the lock: who drops the queue next will find it there.
                    (self._handout or taker).put(delivery)
        for delivery in unwanted:
            delivery.decide(Release())
            self.settle(delivery)

    def _settle_unseen(self, held: Held, decision: Decision, lane: Lane) -> None:
        with self._room:
            self._in_flight += 1
            self._held[held.message.message_id] = held.token
        self._settler.add(Settlement(orders=[order(held, decision, lane=lane)]))

    def _settled(self, settlements: list[Settlement]) -> None:
        with self._room:
            self._in_flight -= len(settlements)
            for settlement in settlements:
                for one in settlement.orders:
                    if self._held.get(one.id) == one.token:
                        del self._held[one.id]
                    if self._settled_meanwhile is not None:
                        self._settled_meanwhile.add(one.token)
                    if self._cancelled:
                        self._cancelled.discard(one.id)
            self._room.notify_all()


def _limit_arguments(limit: Limit) -> Iterator[str | int]:
    rate = limit.rate
    yield from (limit.name, limit.concurrent)
    yield from (rate.count, milliseconds(rate.per), rate.burst) if rate else (0, 0, 0)


def _parked(message: Message[Any]) -> Decision:
    """A job that nobody knows here may be known after the deploy that is under way."""
    now = time.time_ns() // 1_000_000
    since = message.options.setdefault("parked", now)
    if now - since > milliseconds(LONGEST_PARKED):
        return Dead(reason=f"no job named {message.actor_name!r} for {LONGEST_PARKED}")
    return Again(after=PARK, counted=False)


def _drain(queue: SimpleQueue[Delivery]) -> Iterator[Delivery]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
