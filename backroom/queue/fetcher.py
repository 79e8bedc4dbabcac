"""The one thread of a process that takes messages from the engine: one blocking wait for all queues, then a fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Event, Thread, Timer

import redis
import structlog

from backroom.domain.limits import Limit
from backroom.queue.delivery import Lane
from backroom.queue.faults import point
from backroom.queue.lease import Lease
from backroom.queue.load import LONGEST_ENGINE_PAUSE, Load
from backroom.queue.open import Script, base
from backroom.queue.rows import HEADER, Row, adopted, fetched, in_deliveries, question

LAYOUT = 2
LONGEST_WAIT = 1.0
LONGEST_RECONNECT = 1.0
FIRST_RECONNECT = 0.05
ENGINE_TICK = 0.1
# How long a token that ends a wait is kept, should nobody be waiting.
INTERRUPTION_MS = 2_000

log = structlog.get_logger()


class Fetcher:
    """Fetches while there is room, and adopts what a lost reply has left with us.

    Args:
        client: Its connections.
        prefix: What every key starts with.
        worker: On whose behalf.
        lease: Of the worker.
        load: What it holds already.
        queues: Those that are wanted now.
        lane: How a queue's messages travel.
        limits: Those that jobs declare here.
        bring: Told what has been fetched.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str,
        worker: str,
        lease: Lease,
        load: Load,
        queues: Callable[[], Sequence[str]],
        lane: Callable[[str], Lane],
        limits: Callable[[], Iterable[Limit]],
        bring: Callable[[Sequence[Row]], None],
    ) -> None:
        self.stopping = Event()
        self._client = client
        self._base = base(prefix)
        self._worker = worker
        self._lease = lease
        self._load = load
        self._queues = queues
        self._lane = lane
        self._limits = limits
        self._bring = bring
        self._fetch, self._adopt, self._layout = (
            Script(client, name, prefix=prefix) for name in ("fetch", "adopt", "layout")
        )
        self._fits = False
        self._turn = 0
        socket_timeout = client.get_connection_kwargs().get("socket_timeout") or 2 * LONGEST_WAIT
        self._longest_wait = min(LONGEST_WAIT, socket_timeout / 2)
        self._thread = Thread(target=self._run, name="backroom-fetch", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs, or has been told to stop."""
        return self._thread.is_alive() or self.stopping.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Fetch no more; a fetch that is under way is brought first, if it is answered soon."""
        with self._load.room:
            self.stopping.set()
            self._load.room.notify_all()
        self.interrupt()
        self._thread.join(self._longest_wait)

    def interrupt(self) -> None:
        """End the blocking wait: there is something to ask for that it does not wait for."""
        key = self._own_wake_key()
        try:
            with self._client.pipeline(transaction=True) as steps:
                steps.rpush(key, "1")
                steps.pexpire(key, INTERRUPTION_MS)
                steps.execute()
        except (redis.RedisError, OSError):
            # Nobody is waiting where nobody answers.
            return

    def _own_wake_key(self) -> str:
        return f"{self._base}wake!{self._worker}"

    def _run(self) -> None:
        wait, reconnect = 0.0, FIRST_RECONNECT
        while not self.stopping.is_set():
            if not self._load.room_for(self.stopping, block=True):
                continue
            try:
                if not self._fits and not self._find_layout():
                    self.stopping.wait(LONGEST_ENGINE_PAUSE)
                    continue
                if self._lease.strayed:
                    self._adopt_strays()
                if wait > 0:
                    self._wait_for_messages(wait)
                room = self._load.room_for(self.stopping, block=False)
                if room:
                    wait = self._fetch_once(room)
                    reconnect = FIRST_RECONNECT
            except (redis.RedisError, OSError) as error:
                if reconnect == FIRST_RECONNECT:
                    log.warning("queue.away", worker=self._worker, error=type(error).__name__)
                self._lease.lost()
                self.stopping.wait(reconnect)
                reconnect = min(reconnect * 2, LONGEST_RECONNECT)

    def _find_layout(self) -> bool:
        found = int(self._layout(LAYOUT))
        self._fits = found == LAYOUT
        if not self._fits:
            log.error("queue.other_layout", worker=self._worker, found=found, known=LAYOUT)
        return self._fits

    def _wait_for_messages(self, seconds: float) -> None:
        keys = [self._own_wake_key(), *(f"{self._base}wake:{queue}" for queue in self._queues())]
        # The engine looks at its time-outs ten times a second (`hz`). What is due sooner is not to be late for that.
        alarm = Timer(seconds, self.interrupt) if seconds < self._longest_wait else None
        if alarm:
            alarm.daemon = True
            alarm.start()
        try:
            self._client.blpop(keys, timeout=min(seconds + ENGINE_TICK, self._longest_wait))
        finally:
            if alarm:
                alarm.cancel()

    def _fetch_once(self, room: int) -> float:
        """Fetch, and say how long the next fetch may wait for something new."""
        self._load.pace.measure()
        asked_for = question(
            self._lanes_in_turn(), limits=list(self._limits()), capacity=room, judges=self._lease.may_judge()
        )
        reply = self._fetch(self._worker, self._lease.length_ms, *asked_for)
        point("after_fetch")
        due, more, dead, back, poison, was_gone, expired, missing, asked = reply[:HEADER]
        self._lease.heard(was_gone=bool(was_gone and self._load))
        if dead:
            log.warning("worker.dead", by=self._worker, workers=dead, messages_back=back, poison=poison)
        if expired:
            log.info("message.expired", by=self._worker, count=expired)
        if missing:
            log.error("message.missing", by=self._worker, count=missing)
        self._load.cancel(reply[HEADER : HEADER + asked])
        self._bring(fetched(reply[HEADER + asked :]))
        if more:
            return 0.0
        return self._longest_wait if due < 0 else max(0.001, due / 1000)

    def _lanes_in_turn(self) -> dict[str, Lane]:
        # Who is asked first changes, so that no queue is always served last.
        queues = list(self._queues())
        self._turn = (self._turn + 1) % max(1, len(queues))
        return {queue: self._lane(queue) for queue in queues[self._turn :] + queues[: self._turn]}

    def _adopt_strays(self) -> None:
        self._load.look_out()
        takings = self._lease.look()
        rows = self._load.adopt(adopted(self._adopt(self._worker)))
        self._lease.looked(takings)
        if rows:
            log.info("worker.adopted", worker=self._worker, messages=len(rows))
            self._bring(in_deliveries(rows, self._lane))
