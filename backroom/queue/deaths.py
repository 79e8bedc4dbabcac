"""What messages died of while somebody was watching."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backroom.queue.delivery import Delivery


class Deaths:
    """Keeps an error for those who watch only: with its frames it would hold much memory."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[list[BaseException]]] = defaultdict(list)

    @contextmanager
    def watched(self, queue: str) -> Iterator[list[BaseException]]:
        """The first error of a queue's messages from now on, when there is one."""
        deaths: list[BaseException] = []
        self._watchers[queue].append(deaths)
        try:
            yield deaths
        finally:
            self._watchers[queue] = [other for other in self._watchers[queue] if other is not deaths]

    def note(self, delivery: Delivery) -> None:
        """A delivery goes to the dead letters."""
        for deaths in self._watchers.get(delivery.queue_name, ()):
            if not deaths:
                deaths.append(delivery.error or RuntimeError(delivery.why_failed()))
