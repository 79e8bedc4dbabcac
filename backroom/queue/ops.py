"""Look at the queues, and mend what went wrong in them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from backroom.domain.errors import Invalid, QueueAway
from backroom.queue.life import Life, State, life
from backroom.queue.open import AsyncScript, Script, queue_away
from backroom.queue.wire import USUAL_LINE, Envelope, decode, milliseconds, pack

if TYPE_CHECKING:
    import redis
    import redis.asyncio

Intake = Literal["open", "paused", "draining"]
Cancelled = Literal["cancelled", "asked", "dead", "done", "unknown"]

MOST_LISTED = 1_000
# So many bodies are read in one step; the engine does nothing else meanwhile.
BODIES_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How much a queue holds.

    Attributes:
        queue: Its name.
        ready: Messages that could be taken now.
        delayed: Messages that are due later.
        inflight: Messages that a worker holds.
        limited: Messages that wait for a limit.
        oldest: How long ago the first ready message was sent; None where none is ready or its age cannot be read.
        intake: `paused`, nothing is taken out; `draining`, nothing is taken in.
        most: How many may be in flight at once, if an operator has set that.
        mark: How many may be ready before nothing more is taken in, if an operator has set that.
    """

    queue: str
    ready: int
    delayed: int
    inflight: int
    limited: int
    oldest: timedelta | None
    intake: Intake = "open"
    most: int | None = None
    mark: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dead:
    """A dead letter.

    Attributes:
        id: The message.
        job: What was asked; empty where the body cannot be read.
        queue: Where it waited; empty where the body cannot be read.
        reason: Why it died.
        at: When.
        attempts: How many attempts failed.
        body: The message as it was on the wire.
    """

    id: str
    job: str
    queue: str
    reason: str
    at: datetime
    attempts: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSeen:
    """A worker that has a lease.

    Attributes:
        name: Host, process and something unique.
        lease_left: How long the lease still lasts; below zero it is about to be declared dead.
        holds: How many messages it holds.
    """

    name: str
    lease_left: timedelta
    holds: int


class Queues:
    """Every method raises `QueueAway` where Valkey does not answer."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._client = client
        names = ("depths", "find", "dead", "letters", "revive", "discard", "workers", "cancel", "rule", "peek", "move")
        self._scripts = {name: Script(client, name, prefix=prefix) for name in (*names, "flush", "gone")}

    def depths(self) -> dict[str, Depth]:
        """How much each queue holds, by name."""
        now = time.time_ns() // 1_000_000
        found = {}
        for name, ready, delayed, inflight, limited, intake, most, mark, sent in _rows(self._ask("depths"), 9):
            found[name.decode()] = Depth(
                queue=name.decode(),
                ready=ready,
                delayed=delayed,
                inflight=inflight,
                limited=limited,
                oldest=timedelta(milliseconds=max(0, now - sent)) if sent else None,
                intake=intake.decode() or "open",
                most=int(most) if most else None,
                mark=int(mark) if mark else None,
            )
        return dict(sorted(found.items()))

    def rule(
        self,
        queue: str,
        *,
        intake: Intake | None = None,
        most: int | None = None,
        mark: int | None = None,
        age: timedelta | None = None,
    ) -> None:
        """Set what is wanted of a queue, for every worker and door at once; None leaves a rule as it is.

        Args:
            queue: Which one.
            intake: `open`, `paused` (nothing is taken out) or `draining` (nothing is taken in).
            most: How many messages may be in flight at once; 0 for any number.
            mark: How many may be ready before nothing more is taken in; 0 for the usual mark.
            age: How old the oldest may be before nothing more is taken in; zero for any age.

        Raises:
            Invalid: A rule is not one of these.
        """
        if intake is not None and intake not in get_args(Intake):
            raise Invalid("/intake", "is not a state of a queue", "open, paused or draining")
        if any(number is not None and number < 0 for number in (most, mark)):
            raise Invalid("", "is below zero", "0 takes the rule away")
        wanted = {
            "state": None if intake is None else intake.replace("open", ""),
            "most": None if most is None else str(most or ""),
            "mark": None if mark is None else str(mark or ""),
            "age": None if age is None else str(milliseconds(age) or ""),
        }
        rules = [text for name, value in wanted.items() if value is not None for text in (name, value)]
        if rules:
            self._ask("rule", queue, *rules)

    def peek(self, queue: str, limit: int = 10) -> list[Envelope]:
        """The messages that wait in a queue, those first that are taken next; what cannot be read is left out."""
        found = []
        for id, body in _rows(self._ask("peek", queue, max(1, min(limit, BODIES_AT_ONCE))), 2):
            try:
                found.append(decode(body, id=id.decode()))
            except Invalid:
                continue
        return found

    def move(self, queue: str, to: str, *, limit: int) -> int:
        """Move messages that wait in one queue to the end of another; say how many went. A few hundred at a time."""
        return int(self._ask("move", queue, to, limit))

    def purge(self, queue: str) -> int:
        """Drop all messages of a queue that no worker holds; say how many there were."""
        return int(self._ask("flush", queue))

    def life(self, id: str) -> Life:
        """What became of a message."""
        return life(id, self._ask("find", id))

    def find(self, id: str) -> tuple[State, bytes | None]:
        """Where a message is, and its body where it still has one."""
        found = self.life(id)
        return found.state, found.body or None

    def cancel(self, id: str) -> Cancelled:
        """Cancel a message: at once while it waits; what runs is asked to stop, and what fails then does not return."""
        return cast("Cancelled", self._ask("cancel", id).decode())

    def dead(self, limit: int = 100, after: str = "") -> list[Dead]:
        """The dead letters, newest first.

        Args:
            limit: How many at most.
            after: The id of the last one seen, to go on from there.

        Raises:
            Invalid: The last one seen is not dead any more.
        """
        there, *ids = self._ask("dead", max(1, min(limit, MOST_LISTED)), after)
        if not there:
            raise Invalid("after", f"there is no dead letter {after}", "it has left since: begin without it")
        return [_dead(*row) for some in _rows(ids, BODIES_AT_ONCE) for row in _rows(self._ask("letters", *some), 4)]

    def dead_letter(self, id: str) -> Dead | None:
        """One of them; None where it is not dead."""
        return next((_dead(*row) for row in _rows(self._ask("letters", id), 4)), None)

    def retry(self, id: str) -> bool:
        """Put a dead letter back on its queue with all its attempts before it; say whether it was there.

        Raises:
            Invalid: Its body cannot be read, so no queue would take it.
        """
        state, body = self.find(id)
        if state != "dead":
            return False
        message = decode(body or b"", id=id)
        message.options = {
            name: value for name, value in message.options.items() if name not in {"attempt", "errors", "parked"}
        }
        line = message.options.get("line", USUAL_LINE)
        return bool(self._ask("revive", id, message.queue_name, line, pack(message)))

    def discard(self, id: str) -> bool:
        """Drop a message that is dead or waits; say whether it was dropped. What a worker holds is left to it."""
        return int(self._ask("discard", id)) == 1

    def workers(self) -> list[WorkerSeen]:
        """Who has a lease."""
        return [
            WorkerSeen(name=name.decode(), lease_left=timedelta(milliseconds=left), holds=holds)
            for name, left, holds in _rows(self._ask("workers"), 3)
        ]

    def declare_dead(self, name: str, *, counted: bool) -> tuple[int, int]:
        """End the lease of a worker whose process has ended, and give back what it held.

        Only for who saw it end: a worker that still runs would go on with messages that others have by then.

        Args:
            name: What its broker was given as `worker_name`; no other worker may ever have been given the same.
            counted: Whether it may have died of what it held. After a few such deaths a message is poison.

        Returns:
            How many messages it held, and how many of them are dead letters now.
        """
        names = [worker.name for worker in self.workers() if worker.name.startswith(f"{name}.")]
        found = [self._ask("gone", one, int(counted)) for one in names]
        return sum(held for held, _ in found), sum(buried for _, buried in found)

    def check_durability(self) -> list[str]:
        """What keeps this engine from keeping its word; empty where an accepted message is on disk."""
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        try:
            with queue_away():
                found = self._client.config_get(*wanted)
        except QueueAway as error:
            return [f"its configuration cannot be read ({type(error.__cause__).__name__})"]
        config = {_text(name): _text(value) for name, value in cast("dict[Any, Any]", found).items()}
        return [
            f"{name} is {config.get(name, 'unknown')}, not {value}"
            for name, value in wanted.items()
            if config.get(name) != value
        ]

    def _ask(self, script: str, *args: str | bytes | float) -> Any:
        with queue_away():
            return self._scripts[script].repeatable(*args)


class AsyncQueues:
    """The same for the front door, as far as it needs it."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._find = AsyncScript(client, "find", prefix=prefix)

    async def find(self, id: str) -> tuple[State, bytes | None]:
        """See `Queues.find`."""
        found = await self.life(id)
        return found.state, found.body or None

    async def life(self, id: str) -> Life:
        """See `Queues.life`."""
        with queue_away():
            return life(id, await self._find.repeatable(id))


def _dead(id: bytes, at: int, reason: bytes, body: bytes) -> Dead:
    job = queue = ""
    attempts = 0
    try:
        message = decode(body, id=id.decode())
    except Invalid:
        pass
    else:
        job, queue = message.actor_name, message.queue_name
        attempts = int(message.options.get("attempt", 0))
    return Dead(
        id=id.decode(),
        job=job,
        queue=queue,
        reason=reason.decode(errors="replace"),
        at=datetime.fromtimestamp(at / 1000, tz=UTC),
        attempts=attempts,
        body=body,
    )


def _rows(values: list[Any], width: int) -> list[list[Any]]:
    return [values[at : at + width] for at in range(0, len(values), width)]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
