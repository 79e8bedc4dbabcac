"""The one thread of a process that tells the engine what was decided: whatever piled up travels together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
import structlog

if TYPE_CHECKING:
    from backroom.queue.delivery import Delivery, Order
    from backroom.queue.open import Script

MOST_IN_A_CALL = 500
FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0

log = structlog.get_logger()


class Settlement(NamedTuple):
    """The decisions about one delivery; they are carried out in one step."""

    orders: Sequence[Order]
    delivery: Delivery | None = None


class Settler:
    """Repeats until it is answered: a decision is never dropped while the engine may come back.

    Args:
        script: `settle.lua`.
        worker: On whose behalf.
        settled: Told about each group of settlements that was answered.
    """

    def __init__(self, script: Script, *, worker: str, settled: Callable[[list[Settlement]], None]) -> None:
        self._script = script
        self._worker = worker
        self._settled = settled
        self._waiting: SimpleQueue[Settlement | None] = SimpleQueue()
        self._give_up = Event()
        self._thread = Thread(target=self._run, name="backroom-settler", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, settlement: Settlement) -> None:
        """Have a settlement carried out soon."""
        self._waiting.put(settlement)

    def close(self, *, within: timedelta) -> None:
        """Carry out what was added, then end; what the engine does not answer in time is left to the lease."""
        self._waiting.put(None)
        self._thread.join(within.total_seconds())
        self._give_up.set()

    def _run(self) -> None:
        closing = False
        while not closing:
            group = list(self._next_group())
            closing = group[-1] is None
            settlements = [settlement for settlement in group if settlement is not None]
            if settlements:
                self._carry_out(settlements)

    def _next_group(self) -> Iterator[Settlement | None]:
        settlement = self._waiting.get()
        count = 0
        while settlement is not None:
            yield settlement
            count += len(settlement.orders)
            if count >= MOST_IN_A_CALL:
                return
            try:
                settlement = self._waiting.get_nowait()
            except Empty:
                return
        yield None

    def _carry_out(self, settlements: list[Settlement]) -> None:
        orders = [order for settlement in settlements for order in settlement.orders]
        reply, tries = self._until_answered([value for order in orders for value in order.arguments()], len(orders))
        # After a lost reply, a refusal may only mean that the first try was heard.
        if tries == 1 and not all(reply):
            refused = [order.id for order, answer in zip(orders, reply, strict=True) if not answer]
            log.warning("decision.refused", worker=self._worker, messages=refused[:10], count=len(refused))
        self._settled(settlements)

    def _until_answered(self, args: list[Any], count: int) -> tuple[list[int], int]:
        wait = FIRST_WAIT
        tries = 0
        since = time.monotonic()
        while not self._give_up.is_set():
            tries += 1
            try:
                return self._script(self._worker, count, *args), tries
            except (redis.RedisError, OSError) as error:
                if tries == 1:
                    log.warning("settle.waiting", worker=self._worker, count=count, error=type(error).__name__)
            self._give_up.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        log.error("settle.abandoned", worker=self._worker, count=count, seconds=round(time.monotonic() - since))
        return [], tries
