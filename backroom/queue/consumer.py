"""What Dramatiq's consumer threads, and people, take messages with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from dramatiq import Consumer, MessageProxy

from backroom.queue.decisions import Dead, Done, Release
from backroom.queue.delivery import Delivery

if TYPE_CHECKING:
    from backroom.queue.broker import ValkeyBroker
    from backroom.queue.hub import Hub

log = structlog.get_logger()


class ValkeyConsumer(Consumer):
    """The deliveries of one queue.

    Args:
        broker: Whose.
        hub: Where they come from.
        queue: Which.
        timeout: How many milliseconds one step of the iterator waits at most.
    """

    def __init__(self, broker: ValkeyBroker, hub: Hub, queue: str, *, timeout: int) -> None:
        self._broker = broker
        self._hub = hub
        self._queue = queue
        self._timeout = timeout / 1000

    def __next__(self) -> MessageProxy | None:
        return self._hub.next(self._queue, timeout=self._timeout)

    def ack(self, message: MessageProxy) -> None:
        """It is done, unless something else was decided about it."""
        delivery = _held(message)
        if delivery is not None:
            if delivery.otherwise is None:
                delivery.decide(Done())
            delivery.hub.settle(delivery)

    def nack(self, message: MessageProxy) -> None:
        """It goes to the dead letters, unless something else was decided about it."""
        delivery = _held(message)
        if delivery is not None:
            if delivery.otherwise is None:
                delivery.decide(Dead(reason=delivery.why_failed()))
            # First: who joins may see that the queue is empty before this goes on.
            self._broker.deaths.note(delivery)
            delivery.hub.settle(delivery)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """They return to the front of their queue."""
        for message in messages:
            delivery = _held(message)
            if delivery is not None:
                delivery.decide(Release())
                delivery.hub.settle(delivery)

    def close(self) -> None:
        """Take no more."""
        self._broker.readers.drop(self._hub, self._queue)


def _held(message: MessageProxy) -> Delivery | None:
    if isinstance(message, Delivery):
        return message
    # As in Dramatiq: an acknowledgement of what nobody holds has no effect.
    log.warning("message.not_held", id=message.message_id)
    return None
