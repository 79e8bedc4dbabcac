"""What a process holds of the queue, and how much more it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Condition, Event
from typing import TYPE_CHECKING

import structlog

from backroom.queue.decisions import Done, Release

if TYPE_CHECKING:
    from backroom.queue.delivery import Delivery, Order
    from backroom.queue.pace import Pace
    from backroom.queue.rows import Row
    from backroom.queue.settler import Settlement

# In seconds: how long to fetch nothing while an engine that the jobs need is away.
LONGEST_ENGINE_PAUSE = 5.0
# Jobs that end within so many seconds make room for more than one message.
WAIT_FOR_ROOM = 0.02
# Times the capacity: decided, but not confirmed. More would only pile up before an engine that is slow.
MOST_UNSETTLED = 4

log = structlog.get_logger()


class Load:
    """Counts deliveries from the fetch to the engine's word that they are settled.

    Those that nobody has decided about yet are counted apart: the next fetch need not wait for the last
    acknowledgement.

    Args:
        worker: Whose.
        wanted: Whether anything is wanted at all just now.

    Attributes:
        room: Guards everything here, and is notified whenever there may be room for more.
        pace: How much may be undecided at once.
    """

    def __init__(self, pace: Pace, *, worker: str, wanted: Callable[[], bool]) -> None:
        self.room = Condition()
        self.pace = pace
        self._worker = worker
        self._wanted = wanted
        self._undecided = 0
        self._in_flight = 0
        self._tokens: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._settled_meanwhile: set[int] | None = None
        self._somebody_waits = False
        self._engine_pause = 0.0
        self._paused_until = 0.0

    # What is held

    def enter(self, delivery: Delivery) -> None:
        """A delivery is ours from now on. Call it with `room` held."""
        self._undecided += 1
        self._in_flight += 1
        for held in delivery.held:
            self._tokens[held.message.message_id] = held.token

    def enter_decided(self, order: Order) -> None:
        """A message is ours that no job will see."""
        with self.room:
            self._in_flight += 1
            self._tokens[order.id] = order.token

    def holds(self, id: str, token: int) -> bool:
        """Whether a message is ours under this token."""
        return self._tokens.get(id) == token

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @property
    def undecided(self) -> int:
        """How many deliveries nobody has decided about."""
        return self._undecided

    def decide(self, delivery: Delivery) -> bool:
        """It is decided; False if it was before."""
        decision = delivery.otherwise
        with self.room:
            if delivery.settled:
                return False
            delivery.settled = True
            self._undecided -= 1
            self.pace.decided()
            if isinstance(decision, Release) and decision.engine_away:
                self._pause()
            elif decision is None or isinstance(decision, Done):
                self._engine_pause = 0.0
            if not self._undecided or (self._somebody_waits and self.pace.worth_a_call(self._undecided)):
                self.room.notify_all()
        return True

    def settled(self, settlements: list[Settlement]) -> None:
        """The engine has confirmed these."""
        with self.room:
            self._in_flight -= len(settlements)
            for settlement in settlements:
                for one in settlement.orders:
                    if self._tokens.get(one.id) == one.token:
                        del self._tokens[one.id]
                    if self._settled_meanwhile is not None:
                        self._settled_meanwhile.add(one.token)
                    if self._cancelled:
                        self._cancelled.discard(one.id)
            self.room.notify_all()

    def wait_until_decided(self) -> None:
        """Wait until every delivery is decided."""
        with self.room:
            self.room.wait_for(lambda: not self._undecided)

    def wait_until_settled(self, within: float | None = None) -> bool:
        """Wait until the engine has confirmed all of it; False if it has not in so many seconds."""
        with self.room:
            return self.room.wait_for(lambda: not self._in_flight, within)

    # What somebody wants cancelled

    def cancel(self, ids: Iterable[bytes]) -> None:
        """Somebody wants these cancelled."""
        with self.room:
            self._cancelled |= {id.decode() for id in ids}

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message cancelled."""
        return id in self._cancelled

    # What has gone astray

    def look_out(self) -> None:
        """From now until `adopt`, remember what is settled: the engine may have been asked before."""
        with self.room:
            self._settled_meanwhile = set()

    def adopt(self, rows: list[Row]) -> list[Row]:
        """Those of what the engine says we hold that we do not know of; what it does not know of is ours no more."""
        with self.room:
            there = {row.id: row.token for row in rows}
            self._tokens = {id: token for id, token in self._tokens.items() if there.get(id) == token}
            meanwhile = self._settled_meanwhile or set()
            self._settled_meanwhile = None
            return [row for row in rows if row.id not in self._tokens and row.token not in meanwhile]

    # How much more

    def room_for(self, stopping: Event, *, block: bool) -> int:
        """How many deliveries may be fetched now; none when this process stops.

        Args:
            stopping: Set when it stops.
            block: Whether to wait until there is room, and a little longer: one more message is not worth a call.
        """
        with self.room:
            since = None
            while not stopping.is_set():
                now = time.monotonic()
                pause = self._paused_until - now
                free = self._free()
                since = (since or now) if free > 0 else None
                waited = since is not None and (not block or now - since >= WAIT_FOR_ROOM)
                if pause <= 0 and free > 0 and (waited or self.pace.worth_a_call(self._undecided)):
                    # While an engine is away, one message is enough to see whether it is back.
                    return 1 if self._engine_pause else free
                if not block:
                    return 0
                self._somebody_waits = True
                self.room.wait(pause if pause > 0 else WAIT_FOR_ROOM if free > 0 else None)
                self._somebody_waits = False
        return 0

    def _free(self) -> int:
        capacity = self.pace.capacity
        if not self._wanted() or self._in_flight >= MOST_UNSETTLED * capacity:
            return 0
        return capacity - self._undecided

    def _pause(self) -> None:
        now = time.monotonic()
        if now >= self._paused_until:
            self._engine_pause = min(max(1.0, self._engine_pause * 2), LONGEST_ENGINE_PAUSE)
            self._paused_until = now + self._engine_pause
            log.warning("fetch.paused", worker=self._worker, seconds=self._engine_pause)
