"""The figures of what was found, and the targets that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks._queue_found import Found, Fsync, Turns
from benchmarks._queue_turns import OURS, Looks, Turn, is_ours
from benchmarks.frame.figures import Figure, figure, ratio, waits
from benchmarks.frame.report import Check, Report

STOCK = "stock"
SLOWEST_STOCK = "stock, 8 threads"
CELERY = "Celery"

CALLS = "drain, one Valkey call per job, two processes"
NOTHING = "drain of no-op jobs, one process"
ONE_BY_ONE = "enqueue one by one"
BULK = "enqueue in bulk"
PICK_UP = "pick-up by an idle worker"
Value = Callable[[Turn], float | None]


def report(found: Found, *, setup: Mapping[str, str | float], notes: Sequence[str] = ()) -> Report:
    """All of it. What could not be measured is told with the rest, and counts as missed."""
    told = {f"note {number}": note for number, note in enumerate(notes, start=1)}
    ahead = {
        f"fastest Python peer, {fsync}": front.side
        for fsync, turns in found.two.items()
        if (front := _front(turns, _drain, _is_peer))
    }
    return Report(bench="queue", setup={**setup, **ahead, **told}, figures=[*_figures(found)], checks=[*_checks(found)])


def _figures(found: Found) -> Iterator[Figure]:
    for fsync, turns in found.one.items():
        yield from _rates(ONE_BY_ONE, fsync, turns, lambda turn: turn.one_by_one, against=True)
        yield from _rates(BULK, fsync, turns, lambda turn: turn.bulk)
        yield from _rates(NOTHING, fsync, turns, lambda turn: turn.drain, against=True)
    for fsync, turns in found.two.items():
        yield from _rates(CALLS, fsync, turns, lambda turn: turn.drain, against=True)
    for turns in found.one.values():
        for side, them in turns.items():
            if looks := [turn.looks for turn in them if turn.looks]:
                yield from _looked_at(side, looks)
    yield from _pair("enqueue, appendfsync always", ("ours, one caller", "ours, 256 callers"), found.senders, "jobs/s")
    yield from _pair("job that writes a row", ("ours, one at a time", "ours, batches of 500"), found.rows, "rows/s")
    for side, delayed in found.delayed.items():
        name = f"{delayed.jobs:,} delayed jobs"
        yield figure(f"{name}, memory of Valkey for each", side=side, unit="bytes", values=[delayed.engine_bytes_each])
        yield figure(f"{name}, growth of the worker", side=side, unit="MB", values=[delayed.worker_megabytes])
        yield figure(f"{name}, run when due", side=side, unit="jobs/s", values=[delayed.rate])
    for side, values in found.ceiling.items():
        yield figure("ceiling: LPUSH in pipelines of 500", side=side, unit="commands/s", values=values)


def _rates(name: str, fsync: Fsync, turns: Turns, value: Value, *, against: bool = False) -> Iterator[Figure]:
    figures = {side: one for side in turns if (one := _rate(f"{name}, {fsync}", side, turns, value))}
    yield from figures.values()
    ours = max((one for side, one in figures.items() if is_ours(side)), key=lambda one: one.median, default=None)
    if against and ours:
        yield from (_times(ours, one) for side, one in figures.items() if not is_ours(side))


def _rate(name: str, side: str, turns: Turns, value: Value) -> Figure | None:
    values = [found for turn in turns[side] if (found := value(turn)) is not None]
    return figure(name, side=side, unit="jobs/s", values=values) if values else None


def _times(ours: Figure, other: Figure) -> Figure:
    return ratio(ours.name, ours, other)


def _looked_at(side: str, looks: Sequence[Looks]) -> Iterator[Figure]:
    yield from waits(PICK_UP, side=side, rounds=[look.pick_ups for look in looks])
    yield from waits("pick-up under half of its load", side=side, rounds=[look.loaded for look in looks])
    yield figure("half of its load", side=side, unit="jobs/s", values=[look.offered for look in looks])
    yield figure("idle worker, share of a core", side=side, unit="%", values=[look.idle_percent for look in looks])
    yield figure("idle worker, memory", side=side, unit="MB", values=[look.megabytes for look in looks])


def _pair(name: str, sides: tuple[str, str], rounds: Sequence[tuple[float, float]], unit: str) -> Iterator[Figure]:
    if rounds:
        alone, together = (
            figure(name, side=side, unit=unit, values=[one[at] for one in rounds]) for at, side in enumerate(sides)
        )
        yield from (alone, together, ratio(name, together, alone))


def _checks(found: Found) -> Iterator[Check]:
    yield _best(f"{CALLS}, ours against stock at its best", found.two, _drain, lambda s: s.startswith(STOCK), 2)
    yield _best(f"{CALLS}, ours against the fastest Python peer", found.two, _drain, _is_peer, 2)
    yield _best(f"{CALLS}, ours against Celery", found.two, _drain, lambda s: s.startswith(CELERY), 10)
    yield _best(f"{NOTHING}, ours against stock with 8 threads", found.one, _drain, lambda s: s == SLOWEST_STOCK, 10)
    senders = list(_pair("enqueue", ("one", "many"), found.senders, "jobs/s"))
    yield _at_least("enqueue with appendfsync always, coalesced against one by one", senders[2:], 10)
    looks = [turn.looks for turn in found.one.get("always", {}).get(OURS, ()) if turn.looks]
    half, most = waits(PICK_UP, side=OURS, rounds=[look.pick_ups for look in looks]) if looks else (None, None)
    yield _at_most(f"{PICK_UP}, p50", half, 3, unit="ms")
    yield _at_most(f"{PICK_UP}, p99", most, 10, unit="ms")
    yield _bulk(found)
    rows = list(_pair("rows", ("one", "many"), found.rows, "rows/s"))
    yield _at_least("batch job writing rows, against one at a time", rows[2:], 10)
    idle = figure("idle", side=OURS, unit="%", values=[look.idle_percent for look in looks]) if looks else None
    yield _at_most("idle worker, share of a core", idle, 1, unit="%")


def _drain(turn: Turn) -> float:
    return turn.drain


def _is_peer(side: str) -> bool:
    return not is_ours(side) and not side.startswith(STOCK)


def _front(turns: Turns, value: Value, among: Callable[[str], bool]) -> Figure | None:
    """The fastest of them."""
    rates = (_rate("", side, turns, value) for side in turns if among(side))
    return max((one for one in rates if one), key=lambda one: one.median, default=None)


def _best(name: str, stages: Mapping[Fsync, Turns], value: Value, among: Callable[[str], bool], target: float) -> Check:
    """Ours at its best against the fastest of them, under whichever `appendfsync` that is the closer race."""
    times = []
    for turns in stages.values():
        ours = _front(turns, value, is_ours)
        front = _front(turns, value, among)
        if ours and front:
            times.append(_times(ours, front))
    return _at_least(name, times, target)


def _bulk(found: Found) -> Check:
    name = "enqueue in bulk, ours against stock one by one"
    times = []
    for turns in found.one.values():
        stock = _front(turns, lambda turn: turn.one_by_one, lambda side: side.startswith(STOCK))
        ours = _rate(name, OURS, turns, lambda turn: turn.bulk) if OURS in turns else None
        if ours and stock:
            times.append(_times(ours, stock))
    return _at_least(name, times, 10)


def _at_least(name: str, times: Sequence[Figure], target: float) -> Check:
    if not times:
        return Check.not_measured(f"{name}, at least", target, unit="times")
    return Check.at_least(name, min(one.median for one in times), target, unit="times")


def _at_most(name: str, measured: Figure | None, target: float, *, unit: str) -> Check:
    if measured is None:
        return Check.not_measured(f"{name}, at most", target, unit=unit)
    return Check.at_most(name, measured.median, target, unit=unit)
