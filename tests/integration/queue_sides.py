"""The two brokers that are compared under the same faults: the one that comes with Dramatiq, and ours."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend

from backroom.domain.backoff import Backoff
from backroom.queue.broker import ValkeyBroker
from tests.integration.queue_engine import Engine, Processes

PROGRAM = Path(__file__).with_name("queue_sides_worker.py")
HOME = PROGRAM.parents[2]
# Whoever does maintenance wins the lottery each time: stock is shown at its quickest.
NO_LOTTERY = {"maintenance_chance": 1_000_000}

Declare = Callable[[dramatiq.Broker], object]


class Stock:
    """Dramatiq's `RedisBroker` with its usual middleware."""

    name = "stock"
    # A failed attempt is repeated after a moment.
    soon: dict[str, Any] = {"max_retries": 5, "min_backoff": 50, "max_backoff": 100}  # noqa: RUF012

    def broker(self, url: str, **options: Any) -> dramatiq.Broker:
        return RedisBroker(url=url, **options)

    def bodies(self, engine: Engine) -> int:
        """How many messages the engine still has, dead ones and delayed ones, too."""
        with engine.client() as client:
            return sum(client.hlen(key) for key in client.keys("dramatiq:*.msgs"))

    def dead(self, engine: Engine) -> int:
        with engine.client() as client:
            return sum(client.zcard(key) for key in client.keys("dramatiq:*.XQ"))

    def taken(self, engine: Engine) -> int:
        """How many messages the engine counts as some worker's."""
        with engine.client() as client:
            return sum(client.scard(key) for key in client.keys("dramatiq:__acks__.*"))


class Ours:
    """Our `ValkeyBroker` with its usual middleware."""

    name = "ours"
    soon: dict[str, Any] = {"attempts": 6, "backoff": Backoff(first=timedelta(milliseconds=50))}  # noqa: RUF012

    def broker(self, url: str, **options: Any) -> dramatiq.Broker:
        return ValkeyBroker(url, prefix="br", **options)

    def bodies(self, engine: Engine) -> int:
        with engine.client() as client:
            return client.hlen("{br}:msgs") + self.dead(engine)

    def dead(self, engine: Engine) -> int:
        with engine.client() as client:
            return client.zcard("{br}:dead")

    def taken(self, engine: Engine) -> int:
        with engine.client() as client:
            return sum(client.hlen(key) for key in client.keys("{br}:inflight:*"))


Side = Stock | Ours
STOCK, OURS = Stock(), Ours()


def declared(broker: dramatiq.Broker, name: str, function: Callable[..., Any], **options: Any) -> None:
    """A job on a broker, of either side."""
    dramatiq.actor(function, broker=broker, actor_name=name, **options)


def counting(url: str) -> GroupCallbacks:
    """Dramatiq's own middleware for groups, as a program adds it."""
    return GroupCallbacks(RedisBackend(url=url))


def message(name: str, *args: Any, id: str | None = None, **options: Any) -> dramatiq.Message[Any]:
    more = {} if id is None else {"message_id": id}
    return dramatiq.Message(queue_name="default", actor_name=name, args=args, kwargs={}, options=options, **more)


def send(broker: dramatiq.Broker, name: str, *args: Any, delay: timedelta | None = None) -> None:
    """Send as an application does that knows the job's name only."""
    broker.enqueue(message(name, *args), delay=None if delay is None else round(delay / timedelta(milliseconds=1)))


@contextmanager
def sending(side: Side, engine: Engine, **options: Any) -> Iterator[dramatiq.Broker]:
    broker = side.broker(engine.url, **options)
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def at_work(
    broker: dramatiq.Broker, declare: Declare, *, threads: int = 2, delay_prefetch: int | None = None
) -> Iterator[dramatiq.Worker]:
    """A worker of this process with these jobs."""
    declare(broker)
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
    if delay_prefetch is not None:
        worker.delay_prefetch = delay_prefetch
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)
        broker.close()


class Shift(Processes):
    """Worker processes of one side over one engine, to be killed."""

    def __init__(self, side: Side, engine: Engine, folder: Path, *, patience: timedelta) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.side = side
        self.engine = engine
        # How long a silent worker keeps what it holds.
        self.patience = patience

    def hire(self, *, threads: int = 1) -> subprocess.Popen[bytes]:
        patience = round(self.patience / timedelta(milliseconds=1))
        return self.start(PROGRAM, self.side.name, self.engine.url, patience, self.folder, threads)


def watch(true: Callable[[], object], *, stays: timedelta) -> None:
    """See that something stays true for a while."""
    deadline = time.monotonic() + stays.total_seconds()
    while time.monotonic() < deadline:
        assert true()
        time.sleep(0.05)
