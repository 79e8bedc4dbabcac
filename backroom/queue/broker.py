"""A Dramatiq broker on Valkey that loses nothing, strands nothing, and does not poll."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import redis
import uuid_utils
from dramatiq import Broker, Consumer, Message, MessageProxy
from dramatiq.common import iter_queue
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import (
    AgeLimit,
    CurrentMessage,
    Middleware,
    ShutdownNotifications,
    SkipMessage,
)

from backroom.domain.limits import Limit
from backroom.queue.decide import Decide
from backroom.queue.decisions import Again, Release
from backroom.queue.delivery import Delivery, Lane, envelope
from backroom.queue.faults import point
from backroom.queue.handout import Handout
from backroom.queue.hub import Hub, Kind
from backroom.queue.open import Script, open_client, without_retries
from backroom.queue.signals import SparseSignals
from backroom.queue.timelimit import SafeTimeLimit
from backroom.queue.wire import CLASSES, USUAL_LINE, Argument, encode

if TYPE_CHECKING:
    from dramatiq import Actor, Worker

LEASE = timedelta(seconds=15)
MOST_IN_A_BATCH = 1000


class ValkeyBroker(SparseSignals):
    """Dramatiq on Valkey or Redis (6.2 and newer).

    An actor may set `batch` (how many messages it takes at once), `linger_ms` (how long a batch may wait for more) and
    `ordered` (at most one delivery of its queue in flight over all workers); its queue should then be its own.

    Args:
        client_or_url: Where the engine is. A client that is given no longer repeats commands by itself.
        prefix: What every key starts with.
        lease: How long a silent worker keeps its messages.
        middleware: All of it, or None for ours.
        worker_name: A readable name for what consumes here; something unique is added.
    """

    def __init__(
        self,
        client_or_url: redis.Redis | str,
        *,
        prefix: str,
        lease: timedelta = LEASE,
        middleware: list[Middleware] | None = None,
        worker_name: str | None = None,
    ) -> None:
        super().__init__(middleware=[_Fence(), *(_usual() if middleware is None else middleware)])
        self.actor_options |= {"batch", "linger_ms", "ordered", "limits"}
        client = open_client(client_or_url) if isinstance(client_or_url, str) else client_or_url
        self.client = without_retries(client)
        self.prefix = prefix
        self.lease = lease
        self.queues: set[str] = set()
        self._worker_name = worker_name or f"{socket.gethostname()}.{os.getpid()}"
        self._send, self._depths, self._flush = (
            Script(self.client, name, prefix=prefix) for name in ("send", "depths", "flush")
        )
        self._lanes: dict[str, Lane] = {}
        self._limits: set[Limit] = set()
        self._hub: Hub | None = None
        self._handout: Handout | None = None
        self._lock = Lock()

    # -- declaring

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; again has no effect."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: Actor[..., Any]) -> None:
        """Declare an actor, and how its queue travels if it takes batches or wants order."""
        batch, ordered = actor.options.get("batch", 0), bool(actor.options.get("ordered", False))
        if not 0 <= batch <= MOST_IN_A_BATCH:
            raise ValueError(f"{actor.actor_name}: a batch holds 0 to {MOST_IN_A_BATCH} messages")
        if batch or ordered:
            linger = timedelta(milliseconds=actor.options.get("linger_ms", 0))
            self._lanes[actor.queue_name] = Lane(batch=batch, linger=linger, ordered=ordered)
        self._limits.update(actor.options.get("limits", ()))
        super().declare_actor(actor)

    def get_declared_queues(self) -> set[str]:
        """The names of all queues declared so far."""
        return self.queues.copy()

    # -- sending

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Put a message on its queue; a message id that was seen before enqueues nothing.

        A message that is being worked on here (as a `Retries` middleware has it) is written back in the same step as
        its acknowledgement.

        Raises:
            ConnectionClosed: The engine does not answer.
        """
        if isinstance(message, Delivery):
            message.decide(Again(after=timedelta(milliseconds=delay or 0)))
            return message
        self.emit_before("enqueue", message, delay)
        try:
            self._send.repeatable(1, 0, 1, 1, *self._sealed(message, delay))
        except (redis.RedisError, OSError) as error:
            raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        self.emit_after("enqueue", message, delay)
        return message

    # -- consuming

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """An endless iterator over the deliveries of a queue.

        Raises:
            QueueNotFound: It was never declared.
        """
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        with self._lock:
            if self._hub is None:
                self._hub = Hub(
                    self.client,
                    prefix=self.prefix,
                    lease=self.lease,
                    worker=f"{self._worker_name}.{uuid_utils.uuid7()}",
                    lane=self._lane,
                    limits=self._declared_limits,
                    kind=self._kind,
                    handout=self._handout,
                )
                self._hub.start()
            self._hub.consume(queue_name, prefetch=prefetch)
            return _Consumer(self, self._hub, queue_name, timeout=timeout)

    def drop(self, hub: Hub, queue_name: str) -> None:
        """A queue is no longer consumed; with the last one, the hub goes."""
        with self._lock:
            last = hub.drop(queue_name)
            if last and self._hub is hub:
                self._hub = None
        if last:
            hub.close()

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message that is being worked on here cancelled."""
        hub = self._hub
        return hub is not None and hub.cancelled(id)

    def attach(self, worker: Worker) -> None:
        """A worker begins: its threads take from us without its consumer threads between."""
        # Dramatiq has typed it as its own kind of queue.
        worker.work_queue = self._handout = Handout(worker)  # type: ignore[assignment]

    def detach(self) -> None:
        """The worker has stopped."""
        self._handout = None

    def hand_back(self, worker: Worker) -> None:
        """A worker begins to stop: what it has not begun returns to its queues at once."""
        hub = self._hub
        if hub is None:
            return
        deliveries = []
        for item in iter_queue(worker.work_queue):  # type: ignore[no-untyped-call]  # Dramatiq has no types here
            deliveries.append(item.message)
            worker.work_queue.task_done()
        hub.hand_back(deliveries)

    def close(self) -> None:
        """Leave at once, whatever still runs."""
        with self._lock:
            hub, self._hub = self._hub, None
        if hub is not None:
            hub.abandon()
        self.client.close()

    # -- for tests, and for people

    def flush(self, queue_name: str) -> None:
        """Drop all messages of a queue that nobody has taken."""
        self._flush(queue_name)

    def flush_all(self) -> None:
        """Drop all messages of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, interval: int = 20, timeout: int | None = None) -> None:
        """Wait until a queue holds nothing, taken or not.

        Raises:
            QueueJoinTimeout: It still does.
        """
        deadline = time.monotonic() + timeout / 1000 if timeout else None
        while any(self._depths(queue_name)[1:5]):
            if deadline and time.monotonic() >= deadline:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
            time.sleep(interval / 1000)

    def _sealed(self, message: Message[Any], delay: int | None) -> list[Argument]:
        line = message.options.get("line") or self._line(message.actor_name)
        return [
            *(message.message_id, message.queue_name, line),
            *(encode(envelope(message)), max(0, delay or 0), b""),
        ]

    def _line(self, job: str) -> str:
        # The lower the number, the sooner; zero is what nobody has thought about.
        actor = self.actors.get(job)
        if actor is None or not actor.priority:
            return USUAL_LINE
        return CLASSES["urgent" if actor.priority < 0 else "bulk"]

    def _declared_limits(self) -> Iterable[Limit]:
        return self._limits

    def _lane(self, queue: str) -> Lane:
        return self._lanes.get(queue) or Lane()

    def _kind(self, job: str) -> Kind:
        actor = self.actors.get(job)
        if actor is None:
            return "unknown"
        return "batch" if actor.options.get("batch") else "one"


class _Consumer(Consumer):
    def __init__(self, broker: ValkeyBroker, hub: Hub, queue: str, *, timeout: int) -> None:
        self._broker = broker
        self._hub = hub
        self._queue = queue
        self._timeout = timeout / 1000

    def __next__(self) -> MessageProxy | None:
        return self._hub.next(self._queue, timeout=self._timeout)

    def ack(self, message: MessageProxy) -> None:
        _own(message).hub.settle(_own(message))

    def nack(self, message: MessageProxy) -> None:
        _own(message).hub.settle(_own(message))

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            _own(message).decide(Release())
            _own(message).hub.settle(_own(message))

    def close(self) -> None:
        self._broker.drop(self._hub, self._queue)


class _Fence(Middleware):
    """Begins nothing that may be somebody else's by now, and hands back when the worker stops."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002 - its signature
        if isinstance(message, Delivery) and not message.hub.begin(message):
            message.decide(Release())
            raise SkipMessage("its lease has ended")
        point("before_job")

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if isinstance(broker, ValkeyBroker):
            broker.attach(worker)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if isinstance(broker, ValkeyBroker):
            broker.hand_back(worker)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - its signature
        if isinstance(broker, ValkeyBroker):
            broker.detach()


def _usual() -> list[Middleware]:
    return [AgeLimit(), SafeTimeLimit(), ShutdownNotifications(), CurrentMessage(), Decide()]


def _own(message: MessageProxy) -> Delivery:
    if not isinstance(message, Delivery):
        raise TypeError(f"{message!r} did not come from this broker")
    return message
