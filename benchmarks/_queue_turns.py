"""What each side does in its turn: one process alone, two processes at work, jobs that wait for later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from benchmarks._queue_crew import Crew, Ground, Party, Stuck, crew


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much each turn does.

    Attributes:
        share: Of the jobs that keep a side busy for a second.
        single: Sent one by one.
        pick_ups: Sent to an idle worker of ours, whose p99 is asked for, and to one of the others.
        pause: Before each of those, in seconds, from and to: long enough for a worker to be idle again, and never the
            same, or it would beat with the poll of a worker that polls.
        rest: How long a worker is watched that has nothing to do, in seconds.
        load: How long a worker is kept half busy, in seconds.
    """

    share: float
    single: int
    pick_ups: tuple[int, int]
    pause: tuple[float, float]
    rest: float
    load: float


WHOLE = Size(share=1.5, single=1_000, pick_ups=(40, 12), pause=(0.4, 0.9), rest=4, load=3)
QUICK = Size(share=0.35, single=200, pick_ups=(8, 4), pause=(0.15, 0.3), rest=0.8, load=0.6)
OURS = "ours"
# Of what a side drains: how much a worker that is half busy is given.
HALF = 0.5


def is_ours(side: str) -> bool:
    """Whether a side is ours, with whatever settings."""
    return side.startswith(OURS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """What is seen of a worker once it has drained its queue.

    Attributes:
        pick_ups: How long each job had waited that found it idle, in ms.
        idle_percent: Of a core, while it had nothing to do.
        megabytes: What it held then.
        loaded: How long each job had waited while it was half busy, in ms.
        offered: How many there were of those a second: half of what it drains, unless the sender cannot.
    """

    pick_ups: list[float]
    idle_percent: float
    megabytes: float
    loaded: list[float]
    offered: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one turn measured. A side without bulk has none."""

    one_by_one: float
    bulk: float | None
    drain: float
    looks: Looks | None = None


@dataclass(kw_only=True)
class Wounded:
    """Sides that got stuck, and why: they have no further turns, and no figures."""

    why: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def told(self, name: str) -> Iterator[None]:
        """Whatever gets stuck in here is told, and the rest goes on."""
        try:
            yield
        except Stuck as error:
            self.why[name] = f"{name}: {error}"

    def guard(self, name: str, turn: Callable[[], Turn]) -> Callable[[], Turn | None]:
        """The turn, or nothing from a side that is or gets stuck."""

        def guarded() -> Turn | None:
            if name in self.why:
                return None
            with self.told(name):
                return turn()
            return None

        return guarded


def play(party: Party, ground: Ground, size: Size, *, job: str, processes: int, looks: bool) -> Turn:
    """Send, then drain; then look at the worker that has nothing more to do."""
    empty(ground)
    with crew(party, ground, processes=processes) as them:
        one_by_one = size.single / them.ask("each", job=job, count=size.single)["seconds"]
        # Both processes start together but never at the same moment; a longer queue makes that matter less.
        jobs = max(2 * size.single, int(party.side.jobs * size.share * processes))
        rest = jobs - size.single
        seconds = them.ask("fill", job=job, count=rest)["seconds"]
        bulk = rest / seconds if them.can["bulk"] else None
        drain = _drain(them, jobs)
        return Turn(
            one_by_one=one_by_one,
            bulk=bulk,
            drain=drain,
            looks=_look(them, size, ran=jobs, rate=drain * HALF) if looks else None,
        )


def empty(ground: Ground) -> None:
    """A clean Valkey, which keeps what it accepts as this ground says."""
    with redis.Redis.from_url(ground.valkey) as client:
        client.flushall()
        client.config_set("appendfsync", "always" if ground.durable else "everysec")


def _drain(them: Crew, jobs: int) -> float:
    them.start_workers()
    ran, began = them.wait_until_under_way(jobs)
    ended = them.wait_for(jobs, what="a full queue")
    return (jobs - ran) / max(ended - began, 1e-3)


def _look(them: Crew, size: Size, *, ran: int, rate: float) -> Looks:
    count = size.pick_ups[0 if them.party.name == OURS else 1]
    them.ask("pick_ups", count=count, pause=size.pause)
    ran += count
    them.wait_for(ran, what="jobs for an idle worker")
    pick_ups = them.waits()
    began, before = time.monotonic(), them.seconds()
    time.sleep(size.rest)
    idle = 100 * (them.seconds() - before) / (time.monotonic() - began)
    megabytes = them.megabytes()
    paced = them.ask("pace", rate=rate, seconds=size.load)
    them.wait_for(ran + paced["sent"], what="half of what it can do")
    return Looks(
        pick_ups=pick_ups,
        idle_percent=idle,
        megabytes=megabytes,
        loaded=them.waits(),
        offered=paced["sent"] / paced["seconds"],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Delayed:
    """What many jobs that wait for the same moment cost, and how fast they run then."""

    jobs: int
    engine_bytes_each: float
    worker_megabytes: float
    rate: float


def delay(party: Party, ground: Ground, *, jobs: int, sent_per_second: int) -> Delayed:
    """Have a worker idle while they are sent, then let all of them fall due at once."""
    empty(ground)
    with crew(party, ground) as them, redis.Redis.from_url(ground.valkey) as client:
        them.start_workers()
        them.ask("each", job="nothing", count=1)
        them.wait_for(1, what="a first job")
        lean, used = them.megabytes(), client.info("memory")["used_memory"]
        due = time.monotonic() + jobs / sent_per_second + 1
        them.ask("later", job="nothing", count=jobs, due=due)
        grown, full = them.megabytes(), client.info("memory")["used_memory"]
        time.sleep(max(0.0, due - time.monotonic()))
        ran, began = them.ran(), time.monotonic()
        ended = them.wait_for(jobs + 1, what="jobs that are due")
    return Delayed(
        jobs=jobs,
        engine_bytes_each=(full - used) / jobs,
        worker_megabytes=grown - lean,
        rate=(jobs + 1 - ran) / max(ended - began, 1e-3),
    )


def drain_rows(party: Party, ground: Ground, *, job: str, jobs: int) -> float:
    """How many rows a second jobs write into PostgreSQL."""
    empty(ground)
    with crew(party, ground) as them:
        them.ask("many", job=job, count=jobs)
        return _drain(them, jobs)
