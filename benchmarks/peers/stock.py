"""Dramatiq with the Redis broker that it brings."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.peers._dramatiq import DramatiqPeer
from benchmarks.peers._place import Place, Side

REQUIRES = ()
SIDES = (
    Side(name="stock, 8 threads", jobs=3_000, threads=8, rank=0),
    Side(name="stock, 32 threads", jobs=5_000, threads=32, rank=0),
)


class Stock(DramatiqPeer):
    """Its default middleware, and the current message, which ours has too."""

    def later(self, job: str, count: int, due: float) -> None:
        """One by one: it has no other way."""
        for number in range(count):
            wait = max(0.0, due - time.monotonic())
            self.actors[job].send_with_options(kwargs={"message": {"n": number}}, delay=int(wait * 1000))

    def each(self, job: str, numbers: Sequence[int]) -> None:
        """Through the actor."""
        for number in numbers:
            self.actors[job].send(message={"n": number})


def open_peer(place: Place) -> Stock:
    """The broker as its users have it."""
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.middleware import AgeLimit, CurrentMessage, Retries, ShutdownNotifications, TimeLimit

    middleware = [AgeLimit(), TimeLimit(), ShutdownNotifications(), CurrentMessage(), Retries()]
    broker = RedisBroker(url=place.valkey, namespace="bench", middleware=middleware)  # type: ignore[no-untyped-call]
    return Stock(broker, place)
