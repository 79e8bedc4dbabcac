"""Our queue beside stock Dramatiq and the peers, on the same Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import psycopg
import redis

from benchmarks import _queue_ceiling as ceiling
from benchmarks._queue_crew import Ground, Party
from benchmarks._queue_found import Found, Fsync, Turns
from benchmarks._queue_plot import draw
from benchmarks._queue_report import report
from benchmarks._queue_senders import senders
from benchmarks._queue_turns import OURS, QUICK, WHOLE, Turn, Wounded, delay, drain_rows, empty, play
from benchmarks.frame.place import machine, own_engines, own_folder, valkey_version
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Report
from benchmarks.frame.turns import Side, take_turns
from benchmarks.peers._shelf import Entry, entries, missing
from benchmarks.peers.ours import ROWS

__all__ = ["SPAN", "draw", "measure", "muster"]

T = TypeVar("T")

# Twelve sides, each with its own processes: ten minutes would be one round.
SPAN = timedelta(minutes=40)
CROWD_ROUNDS = 5
# What comes after the rounds is short; a peer or two can have some of that time.
LATE = timedelta(seconds=6)
LATE_TURN_SECONDS = 4.0
# A part of the time for each stage; what is left is for the crowds.
ONE_PROCESS_LOOKED_AT = 0.35
ONE_PROCESS = 0.15
TWO_PROCESSES = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowds:
    """How many jobs the measurements of ours have that no other side takes part in, or only stock."""

    alone: int
    together: int
    rows: int
    rows_in_batches: int
    delayed: int
    delayed_at_stock: int
    commands: int


MANY = Crowds(
    alone=1_000,
    together=25_600,
    rows=1_500,
    rows_in_batches=20_000,
    delayed=1_000_000,
    delayed_at_stock=20_000,
    commands=200_000,
)
FEW = Crowds(
    alone=200, together=5_120, rows=300, rows_in_batches=5_000, delayed=10_000, delayed_at_stock=0, commands=50_000
)
# What is due together has all been sent by then: about half of what goes in.
DELAYED_SENT_PER_SECOND = 15_000
STOCK_DELAYED_SENT_PER_SECOND = 1_500


@dataclass(kw_only=True)
class Course:
    """One run through all stages.

    Attributes:
        plan: What was asked for.
        parties: Who takes part from the start.
        late: Who does where time is left.
        grounds: Where, for each way of keeping what is accepted.
        wounded: Who got stuck.
        began: When.
    """

    plan: Plan
    parties: list[Party]
    late: list[Party]
    grounds: dict[Fsync, Ground]
    wounded: Wounded = field(default_factory=Wounded)
    began: float = field(default_factory=time.monotonic)

    def party(self, name: str) -> Party:
        """The one of this name."""
        return next(party for party in self.parties if party.name == name)

    def stage(
        self, fsync: Fsync, *, part: float, job: str, processes: int, looks: Callable[[Party], bool] = lambda _: False
    ) -> Turns:
        """All sides, in turns."""
        size = QUICK if self.plan.quick else WHOLE
        sides: list[Side[Turn | None]] = []
        for party in self.parties:
            turn = partial(play, party, self.grounds[fsync], size, job=job, processes=processes, looks=looks(party))
            sides.append(Side(name=party.name, turn=self.wounded.guard(party.name, turn)))
        turns = take_turns(sides, self._share(part))
        return {
            name: found for name, them in turns.items() if len(found := [turn for turn in them if turn]) == len(them)
        }

    def crowd(self, name: str, turn: Callable[[], T]) -> list[T]:
        """One measurement, a few times."""
        rounds = 1 if self.plan.quick else CROWD_ROUNDS
        return take_turns([Side(name=name, turn=turn)], replace(self.plan, rounds=rounds))[name]

    def latecomers(self, turns: Turns) -> None:
        """A turn for each that is late, while there is time for another."""
        longest = 0.0
        for party in self.late:
            began = time.monotonic()
            if began + max(longest, LATE_TURN_SECONDS) > self.plan.rounds_end + LATE.total_seconds():
                break
            turn = partial(play, party, self.grounds["always"], QUICK, job="call", processes=2, looks=False)
            played = self.wounded.guard(party.name, turn)()
            if played:
                turns[party.name] = [played]
            longest = max(longest, time.monotonic() - began)

    def _share(self, part: float) -> Plan:
        now = time.monotonic()
        if self.plan.quick:
            return replace(self.plan, rounds=1)
        return replace(self.plan, rounds_end=now + part * (self.plan.rounds_end - self.began))


def muster(peers: Sequence[Entry]) -> tuple[list[Party], list[str]]:
    """Who can take part, in the order of a quick run; and what to say of each that cannot."""
    parties = [Party(entry=entry, side=side) for entry in peers if entry.installed for side in entry.sides]
    parties.sort(key=lambda party: party.side.rank)
    return parties, [missing(entry) for entry in peers if not entry.installed]


def measure(plan: Plan) -> Report:
    """Every side at the same work, in turns; then what only ours does, and what the engine alone could do."""
    setup = machine()
    parties, absent = muster(entries())
    at_once = [party for party in parties if not (plan.quick and party.side.rank)]
    for words in absent:
        plan.tell(words)
    with own_folder() as folder, own_engines(folder) as (valkey, postgres):
        with redis.Redis.from_url(valkey.url) as client:
            # A rewrite would fall into whoever's turn it is.
            client.config_set("auto-aof-rewrite-percentage", 0)
        grounds: dict[Fsync, Ground] = {
            fsync: Ground(folder=folder, valkey=valkey.url, postgres=postgres.url, durable=fsync == "always")
            for fsync in ("always", "everysec")
        }
        course = Course(plan=plan, parties=at_once, late=parties[len(at_once) :], grounds=grounds)
        found = _run(course)
        setup |= {"valkey": valkey_version(valkey.url)}
    setup |= {
        "processes": "1 and 2",
        "rounds, one process": len(found.one["always"].get(OURS, ())),
        "rounds, two processes": len(found.two["always"].get(OURS, ())),
        "load after": machine()["load before"],
    }
    return report(found, setup=setup, notes=[*absent, *course.wounded.why.values()])


def _run(course: Course) -> Found:
    quick = course.plan.quick
    found = Found()
    found.one["always"] = course.stage(
        *("always",),
        part=ONE_PROCESS_LOOKED_AT,
        job="nothing",
        processes=1,
        looks=lambda party: not quick or party.name == OURS,
    )
    found.two["always"] = course.stage("always", part=TWO_PROCESSES, job="call", processes=2)
    if not quick:
        found.one["everysec"] = course.stage("everysec", part=ONE_PROCESS, job="nothing", processes=1)
        found.two["everysec"] = course.stage("everysec", part=TWO_PROCESSES, job="call", processes=2)
    if OURS not in course.wounded.why:
        _alone(course, FEW if quick else MANY, found)
    course.latecomers(found.two["always"])
    return found


def _alone(course: Course, crowds: Crowds, found: Found) -> None:
    ground, ours = course.grounds["always"], course.party(OURS)
    empty(ground)
    found.senders = course.crowd(
        "coalesced", lambda: senders(ground.valkey, single=crowds.alone, together=crowds.together)
    )
    with course.wounded.told("rows"):
        found.rows = course.crowd("rows", lambda: _rows(ours, ground, crowds))
    course.plan.tell("delayed jobs")
    with course.wounded.told("delayed jobs, ours"):
        found.delayed[OURS] = delay(ours, ground, jobs=crowds.delayed, sent_per_second=DELAYED_SENT_PER_SECOND)
    for stock in [party for party in course.parties if party.entry.name == "stock" and crowds.delayed_at_stock][:1]:
        with course.wounded.told("delayed jobs, stock"):
            found.delayed[stock.name] = delay(
                stock, ground, jobs=crowds.delayed_at_stock, sent_per_second=STOCK_DELAYED_SENT_PER_SECOND
            )
    empty(ground)
    found.ceiling["redis-py"] = course.crowd("redis-py", lambda: ceiling.pipelines(ground.valkey, crowds.commands))
    found.ceiling["hiredis"] = course.crowd("hiredis", lambda: ceiling.packed(ground.valkey, crowds.commands))
    if said := ceiling.tool(ground.valkey, crowds.commands):
        found.ceiling[said[0]] = [said[1]]


def _rows(ours: Party, ground: Ground, crowds: Crowds) -> tuple[float, float]:
    with psycopg.connect(ground.postgres, autocommit=True) as connection:
        connection.execute(ROWS)
        connection.execute("TRUNCATE bench_rows")
        one_by_one = drain_rows(ours, ground, job="row", jobs=crowds.rows)
        connection.execute("TRUNCATE bench_rows")
        return one_by_one, drain_rows(ours, ground, job="rows", jobs=crowds.rows_in_batches)
