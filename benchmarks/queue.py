"""Our queue beside stock Dramatiq and the peers, on the same Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import redis

from benchmarks import _queue_ceiling as ceiling
from benchmarks._queue_course import Course
from benchmarks._queue_crew import Ground, Party
from benchmarks._queue_found import Found, Fsync
from benchmarks._queue_plot import draw
from benchmarks._queue_report import report
from benchmarks._queue_senders import senders
from benchmarks._queue_turns import OURS, delay, drain_rows, empty
from benchmarks.frame.place import machine, own_engines, own_folder, valkey_version
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Report
from benchmarks.peers._shelf import Entry, entries, missing
from benchmarks.peers.ours import ROWS

__all__ = ["SPAN", "draw", "measure", "muster"]

# Twelve sides, each with its own processes: ten minutes would be one round.
SPAN = timedelta(minutes=40)
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
    alone=200, together=5_120, rows=250, rows_in_batches=4_000, delayed=4_000, delayed_at_stock=0, commands=25_000
)
# What is due together has all been sent by then: about half of what goes in.
DELAYED_SENT_PER_SECOND = 15_000
STOCK_DELAYED_SENT_PER_SECOND = 1_500


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
        found, hurried = _run(course)
        setup |= {"valkey": valkey_version(valkey.url)}
    setup |= {
        "appendfsync": " and ".join(found.one),
        "processes": "1 and 2",
        "rounds, one process": len(found.one["always"].get(OURS, ())),
        "rounds, two processes": len(found.two["always"].get(OURS, ())),
        "load after": machine()["load before"],
    }
    notes = [*absent, *course.wounded.why.values(), *([hurried] if hurried else [])]
    return report(found, setup=setup, notes=notes)


def _run(course: Course) -> tuple[Found, str | None]:
    quick = course.plan.quick
    found = Found()
    found.one["always"] = course.stage(
        "always",
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
    return found, course.latecomers(found.two["always"])


def _alone(course: Course, crowds: Crowds, found: Found) -> None:
    ground, ours = course.grounds["always"], course.party(OURS)
    empty(ground)

    def crowd_of_senders() -> None:
        found.senders = course.crowd(
            "coalesced", lambda: senders(ground.valkey, single=crowds.alone, together=crowds.together)
        )

    def rows() -> None:
        found.rows = course.crowd("rows", lambda: _rows(ours, ground, crowds))

    def delayed() -> None:
        found.delayed[OURS] = delay(ours, ground, jobs=crowds.delayed, sent_per_second=DELAYED_SENT_PER_SECOND)

    def delayed_at_stock() -> None:
        stock = next(party for party in course.parties if party.entry.name == "stock")
        found.delayed[stock.name] = delay(
            stock, ground, jobs=crowds.delayed_at_stock, sent_per_second=STOCK_DELAYED_SENT_PER_SECOND
        )

    course.part("coalesced enqueue", crowd_of_senders)
    course.part("rows", rows)
    course.part("delayed jobs", delayed)
    if crowds.delayed_at_stock:
        course.part("delayed jobs, stock", delayed_at_stock)
    empty(ground)
    course.part("ceiling", lambda: _look_up(course, ground.valkey, crowds.commands, found))


def _look_up(course: Course, url: str, commands: int, found: Found) -> None:
    found.ceiling["redis-py"] = course.crowd("redis-py", lambda: ceiling.pipelines(url, commands))
    found.ceiling["hiredis"] = course.crowd("hiredis", lambda: ceiling.packed(url, commands))
    if said := ceiling.tool(url, commands):
        found.ceiling[said[0]] = [said[1]]


def _rows(ours: Party, ground: Ground, crowds: Crowds) -> tuple[float, float]:
    with psycopg.connect(ground.postgres, autocommit=True) as connection:
        connection.execute(ROWS)
        connection.execute("TRUNCATE bench_rows")
        one_by_one = drain_rows(ours, ground, job="row", jobs=crowds.rows)
        connection.execute("TRUNCATE bench_rows")
        return one_by_one, drain_rows(ours, ground, job="rows", jobs=crowds.rows_in_batches)
