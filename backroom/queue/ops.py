"""Look at the queues, and mend what went wrong in them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from backroom.domain.errors import Invalid, QueueAway
from backroom.queue.open import BROKEN, AsyncScript, Script, queue_away
from backroom.queue.wire import decode, pack

if TYPE_CHECKING:
    import redis
    import redis.asyncio

State = Literal["queued", "scheduled", "running", "dead", "done", "unknown"]

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
        oldest: How long ago the first ready message was sent; None where none is ready or its age cannot be read.
    """

    queue: str
    ready: int
    delayed: int
    inflight: int
    oldest: timedelta | None


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
        self._depths, self._find, self._dead, self._letters, self._revive, self._discard, self._workers = (
            Script(client, name, prefix=prefix)
            for name in ("depths", "find", "dead", "letters", "revive", "discard", "workers")
        )

    def depths(self) -> dict[str, Depth]:
        """How much each queue holds, by name."""
        reply = self._ask(self._depths)
        found = {}
        for queue, ready, delayed, inflight, id, body in _rows(reply, 6):
            name = queue.decode()
            age = _age(id.decode(), body)
            found[name] = Depth(queue=name, ready=ready, delayed=delayed, inflight=inflight, oldest=age)
        return dict(sorted(found.items()))

    def find(self, id: str) -> tuple[State, bytes | None]:
        """Where a message is, and its body where it still has one. `done` is known for ten minutes."""
        state, body = self._ask(self._find, id)
        return cast("State", state.decode()), body or None

    def dead(self, limit: int = 100, after: str = "") -> list[Dead]:
        """The dead letters, newest first.

        Args:
            limit: How many at most.
            after: The id of the last one seen, to go on from there.

        Raises:
            Invalid: The last one seen is not dead any more.
        """
        there, *ids = self._ask(self._dead, max(1, min(limit, MOST_LISTED)), after)
        if not there:
            raise Invalid("after", f"there is no dead letter {after}", "it has left since: begin without it")
        return [_dead(*row) for some in _rows(ids, BODIES_AT_ONCE) for row in _rows(self._ask(self._letters, *some), 4)]

    def dead_letter(self, id: str) -> Dead | None:
        """One of them; None where it is not dead."""
        return next((_dead(*row) for row in _rows(self._ask(self._letters, id), 4)), None)

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
        return bool(self._ask(self._revive, id, message.queue_name, pack(message)))

    def discard(self, id: str) -> bool:
        """Drop a message that is dead or waits; say whether it was dropped. What a worker holds is left to it."""
        return int(self._ask(self._discard, id)) == 1

    def workers(self) -> list[WorkerSeen]:
        """Who has a lease."""
        return [
            WorkerSeen(name=name.decode(), lease_left=timedelta(milliseconds=left), holds=holds)
            for name, left, holds in _rows(self._ask(self._workers), 3)
        ]

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

    def _ask(self, script: Script, *args: str | bytes | float) -> Any:
        with queue_away():
            try:
                return script(*args)
            except BROKEN:
                # An idle connection may have been closed by the other side; every script may be repeated.
                return script(*args)


class AsyncQueues:
    """The same for the front door, as far as it needs it."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._find = AsyncScript(client, "find", prefix=prefix)

    async def find(self, id: str) -> tuple[State, bytes | None]:
        """See `Queues.find`."""
        with queue_away():
            state, body = await self._find(id)
        return cast("State", state.decode()), body or None


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


def _age(id: str, body: bytes) -> timedelta | None:
    if not id:
        return None
    try:
        sent = decode(body, id=id).message_timestamp
    except Invalid:
        return None
    return max(timedelta(0), timedelta(milliseconds=time.time_ns() // 1_000_000 - sent))


def _rows(values: list[Any], width: int) -> list[list[Any]]:
    return [values[at : at + width] for at in range(0, len(values), width)]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
