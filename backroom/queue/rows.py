"""What the fetch script is asked, and what it and the adopt script reply, as rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from backroom.domain.limits import Limit
from backroom.queue.delivery import Held, Lane
from backroom.queue.dialect import opened
from backroom.queue.post import limit_numbers
from backroom.queue.wire import decode, milliseconds

# How many values a fetch replies before its rows (the end of fetch.lua), and how many make a row.
HEADER = 9
FIELDS = 6


class Row(NamedTuple):
    """One message that a worker was given.

    Attributes:
        queue: Where it waited.
        delivery: Rows of one queue with the same number travel together.
        id: The message.
        token: The fence.
        nth: Which delivery of it this is.
        body: As it is on the wire.
    """

    queue: str
    delivery: int
    id: str
    token: int
    nth: int
    body: bytes


def question(lanes: Mapping[str, Lane], *, limits: Sequence[Limit], capacity: int, judges: bool) -> list[str | int]:
    """What to ask for, after the worker's name and lease.

    Args:
        lanes: The queues, in the order in which they are served, and how their messages travel.
        limits: What jobs declare.
        capacity: How many deliveries at most.
        judges: Whether others may be declared dead.
    """
    asked: list[str | int] = [capacity, int(judges), len(limits), len(lanes)]
    for limit in limits:
        asked += [limit.name, *limit_numbers(limit)]
    for queue, lane in lanes.items():
        asked += [queue, lane.batch, milliseconds(lane.linger), int(lane.ordered)]
    return asked


def unpacked(row: Row) -> Held:
    """The message of a row.

    Raises:
        Invalid: It cannot be decoded.
    """
    message = opened(decode(row.body, id=row.id), queue=row.queue)
    return Held(message=message, token=row.token, nth=row.nth)


def fetched(values: Sequence[Any]) -> list[Row]:
    """The rows of a fetch, after its header."""
    # There are few queues and many rows.
    names = {name: name.decode() for name in set(values[::FIELDS])}
    return [
        Row(names[queue], delivery, id.decode(), token, nth, body)
        for queue, delivery, id, token, nth, body in zip(*[iter(values)] * FIELDS, strict=True)
    ]


def adopted(values: Sequence[Any]) -> list[Row]:
    """The rows of an adopt, each on its own, in the order in which they were taken."""
    rows = []
    for at in range(0, len(values), 3):
        token, nth, _, queue, _ = values[at + 1].split(b"|", 4)
        rows.append(Row(queue.decode(), 0, values[at].decode(), int(token), int(nth), values[at + 2]))
    return sorted(rows, key=lambda row: row.token)


def in_deliveries(rows: Iterable[Row], lane: Callable[[str], Lane]) -> list[Row]:
    """Number adopted rows: those of a batch queue go together, as far as they fit into batches."""
    by_queue: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_queue[row.queue].append(row)
    return [
        row._replace(delivery=at // max(1, lane(queue).batch))
        for queue, found in by_queue.items()
        for at, row in enumerate(found)
    ]
