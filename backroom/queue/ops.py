"""Look at the queues, and mend what went wrong in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, cast, get_args

from backroom.domain.errors import Invalid
from backroom.domain.limits import Limit, Rate
from backroom.queue.letters import BODIES_AT_ONCE, DeadLetters
from backroom.queue.life import Life, State, life
from backroom.queue.open import Ask, AsyncScript, base, in_rows, queue_away
from backroom.queue.post import limit_numbers
from backroom.queue.purge import purge
from backroom.queue.wire import Envelope, decode, milliseconds

if TYPE_CHECKING:
    import redis
    import redis.asyncio

MOST_LOOKS = 10_000

Intake = Literal["open", "paused", "draining"]
Cancelled = Literal["cancelled", "asked", "dead", "done", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How much a queue holds.

    Attributes:
        queue: Its name.
        ready: Messages that could be taken now. One that has expired counts until its turn comes.
        delayed: Messages that are due later.
        inflight: Messages that a worker holds.
        limited: Messages that wait for a limit.
        oldest: How long ago the first ready message was sent; None where none is ready or its age cannot be read.
        intake: `paused`, nothing is taken out; `draining`, nothing is taken in.
        most: How many may be in flight at once, if an operator has set that.
        mark: How many may be ready before nothing more is taken in, if an operator has set that.
        age: How old the oldest may be before nothing more is taken in, if an operator has set that.
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
    age: timedelta | None = None

    @property
    def waiting(self) -> int:
        """How many no worker holds, whatever they wait for."""
        return self.ready + self.delayed + self.limited


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


class Queues(DeadLetters):
    """Every method raises `QueueAway` where Valkey does not answer."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        super().__init__(Ask(client, prefix=prefix))
        self._client = client
        self._prefix = prefix
        self._limits = f"{base(prefix)}limits"
        self._dead = f"{base(prefix)}dead"

    def depths(self) -> dict[str, Depth]:
        """How much each queue holds, by name."""
        now = time.time_ns() // 1_000_000
        found = {}
        for name, ready, delayed, inflight, limited, intake, most, mark, sent, age in in_rows(self._ask("depths"), 10):
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
                age=timedelta(milliseconds=int(age)) if age else None,
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

    def limits(self) -> dict[str, Limit]:
        """The limits that an operator has set in place of what jobs declare, by name."""
        with queue_away():
            found = cast("dict[bytes, bytes]", self._client.hgetall(self._limits))
        return {name.decode(): _limit(name.decode(), value) for name, value in sorted(found.items())}

    def limit(self, limit: Limit) -> None:
        """Have a limit be this, for every worker from its next fetch on, whatever jobs declare."""
        self._set_limit(limit.name, "|".join(map(str, limit_numbers(limit))))

    def usual_limit(self, name: str) -> bool:
        """Have a limit be what jobs declare again; say whether it was anything else."""
        return self._set_limit(name, "")

    def _set_limit(self, name: str, value: str) -> bool:
        was_set, more = self._ask("limit", name, value)
        # Whoever waits for it meanwhile has seen the new one, so this need not go on for ever.
        for _ in range(MOST_LOOKS):
            if not more:
                break
            _, more = self._ask("limit", name, value)
        return bool(was_set)

    def peek(self, queue: str, limit: int = 10) -> list[Envelope]:
        """The messages that wait in a queue, those first that are taken next; what cannot be read is left out."""
        found = []
        for id, body in in_rows(self._ask("peek", queue, max(1, min(limit, BODIES_AT_ONCE))), 2):
            try:
                found.append(decode(body, id=id.decode()))
            except Invalid:
                continue
        return found

    def move(self, queue: str, to: str, *, limit: int) -> int:
        """Move messages that wait in one queue to the end of another; say how many went. A few hundred at a time."""
        moved, more = 0, 1
        while more and not moved:
            # Places that were left are passed over, so many in a call.
            moved, more = self._ask("move", queue, to, limit)
        return int(moved)

    def purge(self, queue: str, *, told: Callable[[int], None] | None = None) -> int:
        """Drop all messages of a queue that no worker holds; say how many there were. See `purge.py`.

        Args:
            queue: Which one.
            told: Called with how many are gone, again and again.
        """
        with queue_away():
            return purge(self._client, prefix=self._prefix, queue=queue, told=told)

    def life(self, id: str) -> Life:
        """What became of a message."""
        return life(id, self._ask("find", id))

    def find(self, id: str) -> tuple[State, bytes | None]:
        """Where a message is, and its body where it still has one."""
        found = self.life(id)
        return found.state, found.body or None

    def discard(self, id: str) -> bool:
        """Drop a message that is dead or waits; say whether it was dropped. What a worker holds is left to it."""
        return int(self._ask("discard", "any", id)[0]) == 1

    def cancel(self, id: str) -> Cancelled:
        """Cancel a message: at once while it waits; what runs is asked to stop, and what fails then does not return."""
        return cast("Cancelled", self._ask("cancel", id).decode())

    def workers(self) -> list[WorkerSeen]:
        """Who has a lease."""
        return [
            WorkerSeen(name=name.decode(), lease_left=timedelta(milliseconds=left), holds=holds)
            for name, left, holds in in_rows(self._ask("workers"), 3)
        ]

    def dead_count(self) -> int:
        """How many dead letters there are."""
        with queue_away():
            return int(self._client.zcard(self._dead))

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


def _limit(name: str, value: bytes) -> Limit:
    concurrent, count, period, burst = map(int, value.split(b"|"))
    rate = Rate(count, timedelta(milliseconds=period), max(1, burst)) if period else None
    return Limit(name=name, rate=rate, concurrent=concurrent)
