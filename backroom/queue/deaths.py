"""What messages have died of that somebody may ask about, in `join`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backroom.queue.delivery import Delivery


class Deaths:
    """Keeps one error for each queue, and only for who sends and works, or joins, in one process: tests do.

    With its frames an error may hold much memory, so it is let go of with the end of the next join.

    Args:
        sent_here: Whether a message was sent by this process.
    """

    def __init__(self, sent_here: Callable[[str], bool]) -> None:
        self._sent_here = sent_here
        self._watched: Counter[str] = Counter()
        self._first: dict[str, BaseException] = {}

    @contextmanager
    def watched(self, queue: str) -> Iterator[None]:
        """From now on, every message of a queue counts."""
        self._watched[queue] += 1
        try:
            yield
        finally:
            self._watched[queue] -= 1

    def note(self, delivery: Delivery) -> None:
        """A delivery is about to go to the dead letters."""
        queue = delivery.queue_name
        if queue not in self._first and (self._watched[queue] or self._sent_here(delivery.message_id)):
            self._first[queue] = delivery.error or RuntimeError(delivery.why_failed())

    def take(self, queue: str) -> BaseException | None:
        """The first error of a queue since the last time, if there was one."""
        return self._first.pop(queue, None)
