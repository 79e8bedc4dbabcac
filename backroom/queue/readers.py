"""The hubs of one broker: one for each of Dramatiq's workers in this process, one for each consumer made by hand."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, current_thread
from typing import TYPE_CHECKING

from dramatiq.common import iter_queue
from dramatiq.worker import ConsumerThread

from backroom.queue.handout import Handout

if TYPE_CHECKING:
    from dramatiq import Worker

    from backroom.queue.delivery import Holder
    from backroom.queue.hub import Hub


class Readers:
    """Opens a hub for whoever consumes first, and closes it with the last queue.

    Args:
        new_hub: Makes one; told where a worker's threads take from, or None for a consumer made by hand.
    """

    def __init__(self, new_hub: Callable[[Handout | None], Hub]) -> None:
        self._new_hub = new_hub
        # Those of a worker by its work queue, which its consumer threads share.
        self._hubs: dict[object, Hub] = {}
        self._by_hand: set[Hub] = set()
        self._others: list[Holder] = []
        self._lock = Lock()

    def __contains__(self, hub: object) -> bool:
        return hub in self._hubs.values() or hub in self._others

    def __bool__(self) -> bool:
        return bool(self._hubs or self._others)

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message that one of them holds cancelled."""
        return any(hub.cancelled(id) for hub in list(self._hubs.values()))

    def consume(self, queue: str, *, prefetch: int) -> Hub:
        """The hub from which this thread takes the deliveries of a queue."""
        thread = current_thread()
        owner = thread.work_queue if isinstance(thread, ConsumerThread) else object()
        handout = owner if isinstance(owner, Handout) else None
        with self._lock:
            hub = self._hubs.get(owner)
            if hub is None:
                hub = self._new_hub(handout)
                hub.start()
                self._hubs[owner] = hub
                if handout is None:
                    self._by_hand.add(hub)
            hub.consume(queue, prefetch=prefetch)
        return hub

    def register(self, holder: Holder) -> None:
        """Count somebody else in who works on deliveries of this broker."""
        self._others.append(holder)

    def drop(self, hub: Hub, queue: str) -> None:
        """A queue is no longer consumed."""
        with self._lock:
            if not hub.drop(queue):
                return
            self._hubs = {owner: other for owner, other in self._hubs.items() if other is not hub}
            by_hand = hub in self._by_hand
            self._by_hand.discard(hub)
        if by_hand:
            # Nobody is left who could acknowledge what was taken.
            hub.abandon()
        else:
            hub.close()

    def hand_back(self, worker: Worker) -> None:
        """A worker begins to stop: what it has not begun returns to its queues at once."""
        with self._lock:
            hub = self._hubs.get(worker.work_queue)
        if hub is None:
            return
        hub.hand_back(item.message for item in iter_queue(worker.work_queue))  # type: ignore[no-untyped-call]  # as above

    def abandon(self) -> None:
        """Leave at once, whatever still runs."""
        with self._lock:
            hubs, self._hubs = list(self._hubs.values()), {}
            self._by_hand.clear()
        for hub in hubs:
            hub.abandon()
