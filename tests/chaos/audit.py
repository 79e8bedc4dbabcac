"""Hold what senders noted as accepted against what PostgreSQL has seen, and against what is left in Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis

from tests.chaos.jobs import MIX, QUEUES, Arm, Job
from tests.chaos.plan import Run
from tests.chaos.sender import accepted
from tests.chaos.stage import PREFIX, Stage

MOST_SLOW = 12

_BASE = f"{{{PREFIX}}}:"
# What may be left of a queue that is empty: counters, and what is remembered of the past.
_REMEMBERED = ("layout", "done", "endings", "turns", "token", "workers", "dead")
_RAN = """
SELECT min(at) FILTER (WHERE at > %(killed)s), count(*) FILTER (WHERE at <= %(killed)s)
FROM runs WHERE n = %(n)s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallen:
    """A worker that was killed, or stalled for longer than its lease.

    Attributes:
        at: When.
        held: The numbers of the jobs that it held.
        killed: Whether it never came back.
    """

    at: datetime
    held: Sequence[int]
    killed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What became of the jobs that killed workers held.

    Attributes:
        after: Seconds from a kill until a job ran again; from the last one if more than one worker fell with it.
        limited: Those of them that are under a limit.
        twice: Seconds from the first kill, for those whose next worker fell, too, before it had done them.
        never: How many never ran again.
        slow: Which ones took longest, and how long.
    """

    after: Sequence[float] = ()
    limited: Sequence[float] = ()
    twice: Sequence[float] = ()
    never: int = 0
    slow: Sequence[str] = ()

    def within(self, share: float) -> float | None:
        """The time within which this share was recovered; None where nothing was held."""
        values = sorted(self.after)
        return values[min(len(values) - 1, int(share * len(values)))] if values else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a run.

    Attributes:
        arm: Whose queue.
        run: Which disaster.
        accepted: Jobs that a sender was told are accepted.
        lost: Accepted, without an effect, and no longer to be found in the queue.
        stranded: Accepted, without an effect when our patience ended, and still somewhere in the queue.
        dead: Accepted, without an effect, and among the dead letters.
        doubled: Effects that happened more than once.
        ran_again: Jobs that ran more than once although none of their runs failed; allowed.
        overtaken: Ordered jobs whose effect came before that of an earlier one; -1 where order is not promised.
        left_behind: What the engine still holds after the end, but memories.
        recovery: What became of the jobs that killed workers held.
        seconds: How long it all took.
        faults: How often what happened.
    """

    arm: Arm
    run: Run
    accepted: int
    lost: int
    stranded: int
    dead: int
    doubled: int
    ran_again: int
    overtaken: int
    left_behind: Sequence[str]
    recovery: Recovery
    seconds: float
    faults: dict[str, int] = field(default_factory=dict)


def accepted_by(stage: Stage) -> set[int]:
    return {n for log in stage.logs for n in accepted(log)}


def unfinished(stage: Stage, connection: psycopg.Connection[Any]) -> set[int]:
    """Accepted jobs that have no effect yet."""
    done = {n for (n,) in connection.execute("SELECT DISTINCT n FROM effects")}
    return accepted_by(stage) - done


def held_by(stage: Stage, client: redis.Redis, name: str) -> list[int]:
    """The jobs that a worker holds, of the kinds whose next run is their next effect."""
    ids: Iterable[str] = _held_ours(client, name) if stage.arm == "ours" else _held_stock(client, name)
    numbers = [int(id.removeprefix("job-")) for id in ids]
    return [n for n in numbers if not MIX[n % len(MIX)].startswith("fails")]


def still_queued(stage: Stage, client: redis.Redis) -> tuple[set[int], set[int]]:
    """Which jobs the engine still has, and which ones are dead."""
    if stage.arm == "ours":
        return still_queued_ours(client)
    waiting = {n for queue in QUEUES for end in ("", ".DQ") for n in _stock_bodies(client, f"{queue}{end}").values()}
    return waiting, {n for queue in QUEUES for n in _stock_bodies(client, f"{queue}.XQ").values()}


def still_queued_ours(client: redis.Redis, *, prefix: str = PREFIX) -> tuple[set[int], set[int]]:
    """The same for our queue."""
    waiting, dead = (_numbers(client.hkeys(f"{{{prefix}}}:{key}")) for key in ("msgs", "dead:bodies"))
    return waiting, dead


def left_behind(client: redis.Redis, *, prefix: str = PREFIX) -> list[str]:
    """What our queue holds although nothing waits or runs."""
    found = []
    for key in client.scan_iter(f"{{{prefix}}}:*", count=1000):
        name = key.decode().removeprefix(f"{{{prefix}}}:")
        if name in {"queues", "busy", "limited"}:
            found += [f"{name} {queue.decode()}={n.decode()}" for queue, n in client.hgetall(key).items() if n != b"0"]
        elif (
            name.partition(":")[0] not in _REMEMBERED
            and name != "kept"
            and not name.startswith(("returned", "wake", "note:", "limited!"))
        ):
            found.append(name)
    return sorted(found)


def overtaken(connection: psycopg.Connection[Any]) -> int:
    kind = MIX.index("ordered")
    row = connection.execute(
        "SELECT count(*) FROM (SELECT n, lag(n) OVER (ORDER BY seq) AS before FROM effects"
        " WHERE n %% %s BETWEEN %s AND %s) AS o WHERE n < before",
        (len(MIX), kind, kind + MIX.count("ordered") - 1),
    ).fetchone()
    return row[0] if row else 0


def recovery(connection: psycopg.Connection[Any], fallen: Sequence[Fallen]) -> Recovery:
    """How long after each kill what was held ran again."""
    after: list[tuple[float, int]] = []
    twice: list[float] = []
    never = 0
    for kill in fallen:
        for n in kill.held if kill.killed else ():
            again, before = connection.execute(_RAN, {"killed": kill.at, "n": n}).fetchone() or (None, 0)
            if again is None:
                # Unless it ran before, its acknowledgement on the way when the worker died.
                never += not before
                continue
            next_ones = [one for one in fallen if kill.at < one.at < again and n in one.held]
            if next_ones:
                twice.append((again - kill.at).total_seconds())
            if not any(one.killed for one in next_ones):
                # Otherwise it counts for the later kill.
                last = max((one.at for one in next_ones), default=kill.at)
                after.append(((again - last).total_seconds(), n))
    slowest = sorted(after, reverse=True)[:MOST_SLOW]
    return Recovery(
        after=[seconds for seconds, _ in after],
        limited=[seconds for seconds, n in after if Job(n=n).kind == "limited"],
        twice=twice,
        never=never,
        slow=[f"{Job(n=n).kind} {n} {seconds:.1f} s" for seconds, n in slowest],
    )


def count(connection: psycopg.Connection[Any], query: str, *values: object) -> int:
    row = connection.execute(query, values).fetchone()
    return int(row[0]) if row else 0


def doubled(connection: psycopg.Connection[Any]) -> int:
    return count(connection, "SELECT count(*) FROM (SELECT n FROM effects GROUP BY n HAVING count(*) > 1) AS d")


def ran_again(connection: psycopg.Connection[Any]) -> int:
    query = "SELECT count(*) FROM (SELECT n FROM runs WHERE n %% %s <> %s GROUP BY n HAVING count(*) > 1) AS d"
    return count(connection, query, len(MIX), MIX.index("fails_after"))


def now() -> datetime:
    return datetime.now(UTC)


def _held_ours(client: redis.Redis, name: str) -> list[str]:
    workers = [worker for worker in client.zrange(f"{_BASE}workers", 0, -1) if worker.startswith(f"{name}.".encode())]
    return [id.decode() for worker in workers for id in client.hkeys(f"{_BASE}inflight:{worker.decode()}")]


def _held_stock(client: redis.Redis, name: str) -> list[str]:
    found = []
    for queue in QUEUES:
        bodies = _stock_bodies(client, queue)
        for key in client.scan_iter(f"{PREFIX}:__acks__.{name}.*.{queue}", count=1000):
            found += [f"job-{bodies[id]}" for id in client.smembers(key) if id in bodies]
    return found


def _stock_bodies(client: redis.Redis, queue: str) -> dict[bytes, int]:
    bodies = {}
    for id, body in client.hscan_iter(f"{PREFIX}:{queue}.msgs", count=1000):
        with suppress(ValueError, KeyError, TypeError):
            bodies[id] = int(json.loads(body)["kwargs"]["message"]["n"])
    return bodies


def _numbers(ids: Iterable[bytes]) -> set[int]:
    return {int(id.decode().removeprefix("job-")) for id in ids}
