"""Makes deliveries of fetched rows, and decides about those that no job here could take."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import structlog
from dramatiq import Message
from dramatiq.errors import ActorNotFound

from backroom.domain.errors import Invalid
from backroom.queue.decisions import Again, Dead, Decision
from backroom.queue.delivery import MOST_REASON_CHARS, Delivery, Held, Holder, Lane, Order, order
from backroom.queue.rows import Row, unpacked
from backroom.queue.wire import WIRE, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

PARK = timedelta(seconds=30)
LONGEST_PARKED = timedelta(hours=24)

Kind = Literal["one", "batch", "unknown"]

log = structlog.get_logger()


class Opened(NamedTuple):
    """What a fetch has brought.

    Attributes:
        deliveries: For the jobs, in the order in which they should begin.
        decided: What becomes of the rest.
    """

    deliveries: list[Delivery]
    decided: list[Order]


class Opener:
    """Knows the jobs of this process.

    Args:
        lane: How a queue's messages travel.
        kind: Whether a job takes one message or a batch here, or is unknown.
        rank: A job's priority: of what was fetched together, lower goes first.
        discreet: Whether a delivery's text keeps its arguments to itself.
        parked: How long a message waits whose job is unknown.
        rejected: Told about those that have waited for long enough, on their way to the dead letters.
    """

    def __init__(
        self,
        *,
        lane: Callable[[str], Lane],
        kind: Callable[[str], Kind],
        rank: Callable[[str], int],
        discreet: bool,
        parked: timedelta,
        rejected: Callable[[Delivery], None],
    ) -> None:
        self.lane = lane
        self._kind = kind
        self._rank = rank
        self._discreet = discreet
        self._parked = parked
        self._rejected = rejected

    def open(self, rows: Sequence[Row], *, holder: Holder) -> Opened:
        """Deliveries for whoever holds them."""
        opened = Opened([], [])
        batches: dict[tuple[str, int, str], list[Held]] = defaultdict(list)
        for row, held in self._readable(rows, opened.decided):
            job, lane = held.message.actor_name, self.lane(row.queue)
            kind = self._kind(job) if held.message.options.get("wire", WIRE) <= WIRE else "unknown"
            if kind == "one":
                opened.deliveries.append(Delivery((held,), hub=holder, lane=lane, batch=False, discreet=self._discreet))
            elif kind == "batch":
                batches[row.queue, row.delivery, job].append(held)
            else:
                log.warning("job.unknown", job=job, queue=row.queue, id=row.id)
                opened.decided.append(order(held, self._unknown(held, lane, holder), lane=lane))
        for (queue, _, _), helds in batches.items():
            lane = self.lane(queue)
            opened.deliveries.append(Delivery(tuple(helds), hub=holder, lane=lane, batch=True, discreet=self._discreet))
        if any(map(self._rank, {delivery.actor_name for delivery in opened.deliveries})):
            opened.deliveries.sort(key=lambda delivery: self._rank(delivery.actor_name))
        return opened

    def _readable(self, rows: Sequence[Row], decided: list[Order]) -> Iterator[tuple[Row, Held]]:
        for row in rows:
            try:
                yield row, unpacked(row)
            except Invalid as error:
                log.warning("message.undecodable", id=row.id, queue=row.queue)
                reason = str(error)[:MOST_REASON_CHARS]
                decided.append(Order(what="dead", id=row.id, token=row.token, note=reason))

    def _unknown(self, held: Held, lane: Lane, holder: Holder) -> Decision:
        """A job that nobody knows here may be known after the deploy that is under way."""
        message: Message[Any] = held.message
        now = time.time_ns() // 1_000_000
        since = message.options.setdefault("parked", now)
        if now - since < milliseconds(self._parked):
            return Again(after=PARK, counted=False)
        delivery = Delivery((held,), hub=holder, lane=lane, batch=False, discreet=self._discreet)
        delivery.fail()
        delivery.stuff_exception(ActorNotFound(message.actor_name))  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        self._rejected(delivery)
        waited = f" for {self._parked}" if self._parked else ""
        return Dead(reason=f"no job named {message.actor_name!r}{waited}")
