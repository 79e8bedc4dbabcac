"""What grew in an hour, how fast, and what may."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from benchmarks._soak_sender import Account
from benchmarks._soak_watch import (
    ENDS,
    ENTRIES,
    FILES,
    HELD,
    ISOLATED,
    KEYS,
    LONG_KEPT,
    MEMORY,
    OVERDUE,
    SENDER,
    SUPERVISOR,
    THREADS,
    USED,
    VALKEY,
    WAITING,
    WORKER,
    Sample,
    What,
)
from benchmarks.frame.figures import Figure, figure
from benchmarks.frame.report import Check, Report

TIME = "time of the samples"
PARTS = (WORKER, ISOLATED, SUPERVISOR, SENDER)
HOUR = 3600.0
MINUTE = 60.0
# With less than this a slope says nothing: garbage, pools and tables have not been round often enough.
LONG_ENOUGH = timedelta(minutes=20)
# Of the samples: what one quantity is at one end of the time.
SOME = 0.1
UNITS = {
    MEMORY: "MB",
    THREADS: "threads",
    FILES: "files",
    USED: "MB",
    KEYS: "keys",
    ENTRIES: "entries",
    ENDS: "jobs",
    HELD: "messages",
    WAITING: "jobs",
    LONG_KEPT: "jobs",
    OVERDUE: "jobs",
}
# Those that have a level of their own; of the others the whole spread says enough.
LEVELS = {MEMORY, USED, KEYS, ENTRIES}
FEW_ENTRIES = 100
# Ten seconds of load. Whoever catches up with more takes more at a time, and its heap keeps that height.
MOST_WAITING = 3_000

MOST_MEGABYTES = 2.0
MOST_THREADS = 0.0
MOST_FILES = 1.0
MOST_KEYS_LEFT = 50
MOST_ENTRIES_LEFT = 100
LEAST_RATE = 200.0
# What the mix is made for: a counter of the worker's, and the job that has to have moved it.
HAPPENS = tuple(
    (counter, f"soak.{job}")
    for counter, jobs in {
        "done": "note flood fail later only window latest partner customer account row step long nap chain ask apart",
        "retried": "fail row apart",
        "dead": "fail row apart slow",
        "snoozed": "account nap",
        "cancelled": "row long",
        "enqueued": "flood later",
    }.items()
    for job in jobs.split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was seen.

    Attributes:
        before: Of a worker that has not worked.
        loaded: From the beginning of the load to its end.
        left: After a rest, if there was one.
        account: What was sent, and done about it.
    """

    before: Sample
    loaded: Sequence[Sample]
    left: Sample | None
    account: Account


def report(seen: Seen, *, warm_up: timedelta, setup: Mapping[str, str | float]) -> Report:
    """All of it. What was watched too shortly is told with the rest, and counts as missed."""
    steady = [one for one in seen.loaded if one.at >= warm_up.total_seconds()] or seen.loaded[-1:]
    waited = max(one.values[WAITING, VALKEY] for one in seen.loaded)
    busy = (
        {"note": f"{waited:,.0f} jobs waited at the worst: the machine was too busy"} if waited > MOST_WAITING else {}
    )
    missing = ", ".join(" ".join(what) for what in HAPPENS if not steady[-1].ended[what])
    return Report(
        bench="soak",
        setup={**setup, **busy, **({"did not happen": missing} if missing else {})},
        figures=[*_levels(seen, steady), *_work(steady), *_asked(seen.account), *_entries(steady[-1], seen.left)],
        checks=[*_happened(steady), *_grown(steady), *_left(seen.before, seen.left)],
    )


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """The median of the slopes between all pairs (Theil and Sen), which a few wild points do not move."""
    found = [
        (high - low) / (after - before)
        for at, (before, low) in enumerate(points)
        for after, high in points[at + 1 :]
        if after > before
    ]
    return statistics.median(found) if found else None


def growth(steady: Sequence[Sample], what: What) -> float | None:
    """How much more there is of it after an hour; None where it was not watched for long enough."""
    points = [(one.at, one.values[what]) for one in steady if what in one.values]
    if not points or points[-1][0] - points[0][0] < LONG_ENOUGH.total_seconds():
        return None
    per_second = slope(points)
    return None if per_second is None else HOUR * per_second


def _levels(seen: Seen, steady: Sequence[Sample]) -> Iterator[Figure]:
    yield figure(TIME, side="all", unit="min", values=[one.at / MINUTE for one in seen.loaded])
    for what in sorted({what for one in seen.loaded for what in one.values}):
        name, who = what
        unit = UNITS[name]
        if name in LEVELS and what in seen.before.values:
            yield figure(f"{name}, before the load", side=who, unit=unit, values=[seen.before.values[what]])
        yield figure(name, side=who, unit=unit, values=_values(seen.loaded, what))
        after = _values(steady, what)
        if name in LEVELS and after:
            some = max(1, int(len(after) * SOME))
            yield figure(f"{name}, after the warm-up", side=who, unit=unit, values=[statistics.median(after[:some])])
            yield figure(f"{name}, at the end", side=who, unit=unit, values=[statistics.median(after[-some:])])
        if name in {*LEVELS, THREADS, FILES} and (grown := growth(steady, what)) is not None:
            yield figure(f"{name}, growth in an hour", side=who, unit=unit, values=[grown])
        if name in {*LEVELS, ENDS} and seen.left is not None and what in seen.left.values:
            yield figure(f"{name}, after a rest", side=who, unit=unit, values=[seen.left.values[what]])


def _values(samples: Sequence[Sample], what: What) -> list[float]:
    return [one.values[what] for one in samples if what in one.values]


def _work(steady: Sequence[Sample]) -> Iterator[Figure]:
    first, last = steady[0], steady[-1]
    if span := last.at - first.at:
        for counter in ("done", "retried", "snoozed", "dead", "cancelled"):
            yield figure(f"messages {counter}", side=WORKER, unit="1/s", values=[_rate(first, last, counter)])
        for who in sorted(first.seconds.keys() & last.seconds.keys()):
            busy = 100 * (last.seconds[who] - first.seconds[who]) / span
            yield figure("share of a core", side=who, unit="%", values=[busy])


def _asked(account: Account) -> Iterator[Figure]:
    for name in account.__struct_fields__:
        yield figure(f"messages {name}", side=SENDER, unit="in all", values=[getattr(account, name)])


def _entries(last: Sample, left: Sample | None) -> Iterator[Figure]:
    """Of each kind of key, so that whatever grows has a name."""
    for name, count in sorted(last.entries.items()):
        if count >= FEW_ENTRIES:
            yield figure(f"entries of `{name}`, at the end", side=VALKEY, unit="entries", values=[count])
    for name, count in sorted(left.entries.items()) if left is not None else ():
        yield figure(f"entries of `{name}`, after a rest", side=VALKEY, unit="entries", values=[count])


def _happened(steady: Sequence[Sample]) -> Iterator[Check]:
    first, last = steady[0], steady[-1]
    happened = sum(last.ended[what] > 0 for what in HAPPENS)
    yield Check.exactly("kinds of ends that happened", happened, len(HAPPENS), unit="kinds")
    if last.at > first.at:
        yield Check.at_least("jobs done a second", _rate(first, last, "done"), LEAST_RATE, unit="1/s")
    else:
        yield Check.not_measured("jobs done a second, at least", LEAST_RATE, unit="1/s")
    yield Check.exactly(
        "worker processes one after another", len({one.worker for one in steady} - {None}), 1, unit="processes"
    )
    overdue = max(one.values[OVERDUE, VALKEY] for one in steady)
    yield Check.exactly("ends that are remembered too long", overdue, 0, unit="jobs")


def _grown(steady: Sequence[Sample]) -> Iterator[Check]:
    for name, most in ((MEMORY, MOST_MEGABYTES), (THREADS, MOST_THREADS), (FILES, MOST_FILES)):
        for who in PARTS:
            called, unit = f"growth in an hour, {name}, {who}", UNITS[name]
            grown = growth(steady, (name, who))
            if grown is None:
                yield Check.not_measured(f"{called}, at most", most, unit=unit)
            else:
                yield Check.at_most(called, grown, most, unit=unit)


def _left(before: Sample, left: Sample | None) -> Iterator[Check]:
    """What Valkey holds under load follows the load; afterwards nothing may be left but what is kept on purpose."""
    for name, most in ((HELD, 0), (USED, MOST_MEGABYTES), (KEYS, MOST_KEYS_LEFT), (ENTRIES, MOST_ENTRIES_LEFT)):
        called, unit = f"left after a rest, {name}, {VALKEY}", UNITS[name]
        if left is None:
            yield Check.not_measured(f"{called}, at most", most, unit=unit)
        else:
            yield Check.at_most(called, _more(name, before, left), most, unit=unit)


def _more(name: str, before: Sample, left: Sample) -> float:
    if name == USED:
        return left.values[USED, VALKEY] - before.values[USED, VALKEY]
    # An end that is kept for an hour has a name and a story.
    kept = 2 * left.values[ENDS, VALKEY] if name == ENTRIES else 0.0
    return left.values[name, VALKEY] - kept


def _rate(first: Sample, last: Sample, counter: str) -> float:
    return (_counted(last, counter) - _counted(first, counter)) / (last.at - first.at)


def _counted(sample: Sample, counter: str) -> int:
    return sum(count for (name, _), count in sample.ended.items() if name == counter)
