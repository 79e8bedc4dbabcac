"""The hubs of one broker: one for each of Dramatiq's workers in this process, one for each consumer made by hand."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, current_thread
from typing import TYPE_CHECKING

from dramatiq.common import iter_queue
from dramatiq.worker import ConsumerThread

if TYPE_CHECKING:
    from dramatiq import Worker

    from backroom.queue.hub import Hub


class Readers:
    """Opens a hub for whoever consumes first, and closes it with the last queue.

    Args:
        new_hub: Makes one; told whether it is for a consumer made by hand.
    """

    def __init__(self, new_hub: Callable[[bool], Hub]) -> None:
        self._new_hub = new_hub
        # Those of a worker by its work queue, which its consumer threads share.
        self._hubs: dict[object, Hub] = {}
        self._by_hand: set[Hub] = set()
        self._lock = Lock()

    def __contains__(self, hub: Hub) -> bool:
        return hub in self._hubs.values()

    def consume(self, queue: str, *, prefetch: int) -> Hub:
        """The hub from which this thread takes the deliveries of a queue."""
        thread = current_thread()
        by_hand = not isinstance(thread, ConsumerThread)
        owner = thread.work_queue if isinstance(thread, ConsumerThread) else object()
        with self._lock:
            hub = self._hubs.get(owner)
            if hub is None:
                hub = self._new_hub(by_hand)
                hub.start()
                self._hubs[owner] = hub
                if by_hand:
                    self._by_hand.add(hub)
            hub.consume(queue, prefetch=prefetch)
        return hub

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
        deliveries = []
        for item in iter_queue(worker.work_queue):  # type: ignore[no-untyped-call]  # Dramatiq has no types here
            deliveries.append(item.message)
            worker.work_queue.task_done()
        hub.hand_back(deliveries)

    def abandon(self) -> None:
        """Leave at once, whatever still runs."""
        with self._lock:
            hubs, self._hubs = list(self._hubs.values()), {}
            self._by_hand.clear()
        for hub in hubs:
            hub.abandon()
