"""Drop what waits in a queue, in pieces that the engine hardly notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from backroom.queue.open import Script, base, in_rows
from backroom.queue.wire import CLASSES

if TYPE_CHECKING:
    import redis

# So many places are looked at in one call, and so many lines or limits are named to it.
PIECE = 1_000
NAMES = 200

Told = Callable[[int], None]


def purge(client: redis.Redis, *, prefix: str, queue: str, told: Told | None = None) -> int:
    """Drop the messages of a queue that no worker holds; say how many there were.

    What is ready is dropped if it was there when this came to the lines, and what is sent from then on stays. What is
    due later or waits for a limit goes if it still does so when this comes by. Workers may go on meanwhile.

    Args:
        client: Its connections.
        prefix: What every key starts with.
        queue: Which one.
        told: Called with how many are gone, after each piece.
    """
    return _Purge(client, prefix=prefix, queue=queue, told=told or (lambda _: None)).all()


class _Purge:
    def __init__(self, client: redis.Redis, *, prefix: str, queue: str, told: Told) -> None:
        self._client = client
        self._script = Script(client, "purge", prefix=prefix)
        self._base = base(prefix)
        self._queue = queue
        self._told = told
        self._gone = 0

    def all(self) -> int:
        # In this order, and limits once more: what is due joins a line, and what a worker comes to may meet a limit.
        self._later()
        self._limited()
        self._lines()
        self._limited()
        return self._gone

    def _ask(self, what: str, *args: str | bytes | int) -> list[int]:
        gone, *more = cast("list[int]", self._script.repeatable(self._queue, what, *args))
        self._gone += gone
        self._told(self._gone)
        return more

    def _later(self) -> None:
        while self._ask("later", PIECE) == [PIECE]:
            pass

    def _lines(self) -> None:
        mark = f"purge-{uuid4()}"
        lines = [
            line
            for which in CLASSES.values()
            for line in cast("list[bytes]", self._client.lrange(f"{self._base}ring:{self._queue}:{which}", 0, -1))
        ]
        for some in in_rows(lines, NAMES):
            self._ask("mark", mark, *some)
        for some in in_rows(lines, NAMES):
            left: Sequence[bytes] = some
            while left:
                (through,) = self._ask("lines", mark, PIECE, *left)
                left = left[through:]

    def _limited(self) -> None:
        for some in in_rows(list(self._limits()), NAMES):
            left: Sequence[bytes] = some
            still = [-1, -1, -1]
            while left:
                named: list[bytes | int] = [left[0], *still]
                for limit in left[1:]:
                    named += [limit, -1, -1, -1]
                through, *still = self._ask("limited", PIECE, *named)
                left = left[through:]

    def _limits(self) -> Iterator[bytes]:
        names = cast("list[bytes]", self._client.hkeys(f"{self._base}limited!{self._queue}"))
        for name in names:
            waiting = f"{self._base}waiting:{name.decode()}"
            # What is named twice is found empty the second time.
            yield from (limit for limit, _ in self._client.zscan_iter(waiting, count=PIECE))
