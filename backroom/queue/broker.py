"""A Dramatiq broker on Valkey that loses nothing, strands nothing, and does not poll."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
import structlog
import uuid_utils
from dramatiq import Consumer, Message
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import GroupCallbacks, SkipMessage
from dramatiq.results import Results

from backroom.domain.limits import Limit
from backroom.queue.consumer import ValkeyConsumer
from backroom.queue.deaths import Deaths
from backroom.queue.decisions import Again, Release
from backroom.queue.delivery import Delivery, Lane
from backroom.queue.dialect import delay_of, envelope, made_up, without_eta
from backroom.queue.faults import point
from backroom.queue.finishing import Finish, current, is_worked_on, noted, work_on
from backroom.queue.groups import SettledGroups
from backroom.queue.handout import Handout
from backroom.queue.hub import Hub
from backroom.queue.intake import Intake
from backroom.queue.middleware import usual
from backroom.queue.open import Script, open_client, without_retries
from backroom.queue.opening import LONGEST_PARKED, Kind, Opener
from backroom.queue.patience import teach
from backroom.queue.purge import purge
from backroom.queue.readers import Readers
from backroom.queue.signals import SparseSignals
from backroom.queue.wire import CLASSES, USUAL_LINE, check_queue

if TYPE_CHECKING:
    from dramatiq import Actor
    from dramatiq.middleware import Middleware

LEASE = timedelta(seconds=15)
MOST_IN_A_BATCH = 1000
PLAIN = Lane()


class ValkeyBroker(SparseSignals):
    """Dramatiq on Valkey or Redis (6.2 and newer).

    An actor may set `batch` (how many messages it takes at once), `linger_ms` (how long a batch may wait for more) and
    `ordered` (at most one delivery of its queue in flight over all workers); its queue should then be its own. `limits`
    are those that its messages may count for. A `priority` below zero is urgent, one above zero is bulk.

    Args:
        client_or_url: Where the engine is. A client that is given no longer repeats commands by itself.
        prefix: What every key starts with.
        lease: How long a silent worker keeps its messages.
        middleware: All of it, or None for `usual()`.
        worker_name: A readable name for what consumes here; something unique is added.
        discreet: Whether the text of a message, which Dramatiq logs, keeps its arguments to itself.
        parked: How long a message waits for a worker that knows its actor; with zero it dies at once, as in Dramatiq.
    """

    def __init__(
        self,
        client_or_url: redis.Redis | str,
        *,
        prefix: str,
        lease: timedelta = LEASE,
        middleware: list[Middleware] | None = None,
        worker_name: str | None = None,
        discreet: bool = False,
        parked: timedelta = LONGEST_PARKED,
    ) -> None:
        _log_as_dramatiq_does()
        super().__init__(middleware=[])
        self.actor_options |= {"batch", "linger_ms", "ordered", "limits"}
        client = open_client(client_or_url, prefix=prefix) if isinstance(client_or_url, str) else client_or_url
        self.client = without_retries(client)
        self.prefix = prefix
        self.lease = lease
        self.discreet = discreet
        self.parked = parked
        self.queues: set[str] = set()
        self._worker_name = worker_name or f"{socket.gethostname()}.{os.getpid()}"
        self._intake = Intake(self.client, prefix=prefix)
        self._depths = Script(self.client, "depths", prefix=prefix)
        self._lanes: dict[str, Lane] = {}
        self.limits: set[Limit] = set()
        self.readers = Readers(self._hub)
        self.deaths = Deaths(self._intake.has_sent)
        for one in usual() if middleware is None else middleware:
            self.add_middleware(one)

    def add_middleware(
        self,
        middleware: Middleware,
        *,
        before: type[Middleware] | None = None,
        after: type[Middleware] | None = None,
    ) -> None:
        """As Dramatiq does; a stock result backend learns to wait, and group callbacks to count no member twice."""
        if type(middleware) is GroupCallbacks:
            middleware = SettledGroups(middleware, self)
        super().add_middleware(middleware, before=before, after=after)
        if isinstance(middleware, Results):
            teach(middleware.backend)

    # -- declaring

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; again has no effect.

        Raises:
            Invalid: Its name cannot be part of a key.
        """
        if queue_name not in self.queues:
            check_queue(queue_name)
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
        self.limits.update(actor.options.get("limits", ()))
        super().declare_actor(actor)

    def get_declared_queues(self) -> set[str]:
        """The names of all queues declared so far."""
        return self.queues.copy()

    def lane(self, queue: str) -> Lane:
        """How the messages of a queue travel."""
        return self._lanes.get(queue, PLAIN)

    def get_actor(self, actor_name: str) -> Actor[..., Any]:
        """An actor by its name.

        Raises:
            ActorNotFound: It was never declared.
        """
        # Hooks ask several times for each message, so the usual case does nothing else.
        actor = self.actors.get(actor_name)
        if actor is not None:
            return actor
        with noted():
            return super().get_actor(actor_name)

    # -- sending

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Put a message on its queue.

        What middleware enqueues after a message was worked on follows from that message: it is enqueued if and only if
        the message is settled. A message that is itself being worked on (as `Retries` have it) is written back in the
        same step as its acknowledgement.

        Raises:
            ConnectionClosed: The engine does not answer. The message may be there or not; enqueue it again.
            Full: The queue takes nothing more; where a worker runs in this process, work that follows is taken anyway.
            Invalid: It cannot be sent.
        """
        with noted():
            self.emit_before("enqueue", message, delay)
            self._enqueue(message, delay_of(message, delay))
            self.emit_after("enqueue", message, delay)
        return message

    def _enqueue(self, message: Message[Any], delay: timedelta) -> None:
        if isinstance(message, Delivery):
            if not message.settled and message.hub in self.readers:
                message.decide(Again(after=delay))
                return
            message = message.message
        message = without_eta(message)
        anew = is_worked_on(message.message_id)
        finish = current()
        if finish is None or finish.broker is not self:
            self._intake.put(message, delay, line=self.line(message), anew=anew, always=bool(self.readers))
            return
        again = anew or made_up(message.message_id)
        stored_as = finish.delivery.next_hand_on_id() if again else None
        finish.delivery.hand_on(envelope(message, stored_as=stored_as), delay, line=self.line(message))

    def line(self, message: Message[Any]) -> str:
        """Where in its queue a message goes."""
        # The lower the number, the sooner; zero is what nobody has thought about.
        actor = self.actors.get(message.actor_name)
        usual_line = CLASSES["urgent" if actor.priority < 0 else "bulk"] if actor and actor.priority else USUAL_LINE
        line: str = message.options.get("line", usual_line)
        return line

    # -- working

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """As Dramatiq does; nothing begins that may be somebody else's by now."""
        # The most frequent of all, and hardly anybody listens.
        if signal == "ack" and not self._listening("before_ack"):
            return
        subject = args[0] if args else None
        if signal == "process_message" and isinstance(subject, Delivery):
            work_on(subject)
            if not subject.hub.begin(subject):
                subject.decide(Release())
                raise SkipMessage("its lease has ended")
            point("before_job")
        elif signal == "worker_boot" and subject is not None:
            # Its threads take from the hub, without its consumer threads between.
            subject.work_queue = Handout(subject)
        elif signal == "worker_shutdown" and subject is not None:
            self.readers.hand_back(subject)
            if isinstance(subject.work_queue, Handout):
                subject.work_queue.stop()
        super().emit_before(signal, *args, **kwargs)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """As Dramatiq does; what the hooks after a message enqueue becomes part of its settlement.

        Raises:
            HandOnLost: The message was a success, but what follows from it cannot be enqueued.
        """
        if signal == "ack" and not self._listening("after_ack"):
            work_on(None)
            return
        delivery = args[0] if args else None
        if not isinstance(delivery, Delivery):
            super().emit_after(signal, *args, **kwargs)
        elif signal in {"process_message", "skip_message"}:
            # What was not begun has no outcome that a hook could store.
            if signal == "skip_message" and isinstance(delivery.otherwise, Release):
                return
            with Finish(self, delivery) as finish:
                super().emit_after(signal, *args, **kwargs)
            if finish.lost is not None:
                finish.fail(succeeded=signal == "process_message" and "exception" not in kwargs)
        else:
            super().emit_after(signal, *args, **kwargs)
            if signal in {"ack", "nack"}:
                work_on(None)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """An endless iterator over the deliveries of a queue.

        Raises:
            QueueNotFound: It was never declared.
        """
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
        return ValkeyConsumer(self, self.readers.consume(queue_name, prefetch=prefetch), queue_name, timeout=timeout)

    def cancelled(self, id: str) -> bool:
        """Whether somebody wants a message that is being worked on here cancelled."""
        return self.readers.cancelled(id)

    def close(self) -> None:
        """Leave at once, whatever still runs."""
        self.readers.abandon()
        self.client.close()

    # -- for tests, and for people

    def flush(self, queue_name: str) -> None:
        """Drop all messages of a queue that nobody has taken."""
        purge(self.client, prefix=self.prefix, queue=queue_name)
        self.deaths.take(queue_name)

    def flush_all(self) -> None:
        """Drop all messages of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, interval: int = 20, timeout: int | None = None, fail_fast: bool = False) -> None:
        """Wait until a queue holds nothing, taken or not.

        Args:
            queue_name: Which.
            interval: How many milliseconds to wait between two looks.
            timeout: How many milliseconds to wait at most.
            fail_fast: As in Dramatiq's `StubBroker`: raise what one of its messages has died of since the last join,
                if it was sent here or died meanwhile.

        Raises:
            QueueJoinTimeout: It still does.
        """
        deadline = time.monotonic() + timeout / 1000 if timeout else None
        with self.deaths.watched(queue_name):
            while any(self._depths(queue_name)[1:5]):
                if deadline and time.monotonic() >= deadline:
                    raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
                time.sleep(interval / 1000)
        death = self.deaths.take(queue_name)
        if fail_fast and death:
            raise death

    def _hub(self, handout: Handout | None) -> Hub:
        return Hub(
            self.client,
            prefix=self.prefix,
            lease=self.lease,
            worker=f"{self._worker_name}.{uuid_utils.uuid7()}",
            opener=Opener(
                lane=self.lane,
                kind=partial(self._kind, by_hand=handout is None),
                rank=self._rank,
                discreet=self.discreet,
                parked=self.parked,
                rejected=self._rejected,
            ),
            limits=lambda: self.limits,
            handout=handout,
        )

    def _rejected(self, delivery: Delivery) -> None:
        # No thread of Dramatiq's has seen it.
        self.emit_before("nack", delivery)
        self.deaths.note(delivery)
        self.emit_after("nack", delivery)

    def _kind(self, job: str, *, by_hand: bool) -> Kind:
        actor = self.actors.get(job)
        if actor is None:
            # Who consumes by hand may know what to do with it.
            return "one" if by_hand else "unknown"
        return "batch" if actor.options.get("batch") else "one"

    def _rank(self, job: str) -> int:
        actor = self.actors.get(job)
        return actor.priority if actor else 0


def _log_as_dramatiq_does() -> None:
    # A program that has not set up structlog would find our events on its standard output.
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
        )
