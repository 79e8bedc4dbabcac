"""Our broker beside stock Dramatiq's, on the same Valkey."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import redis
import uuid_utils

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from benchmarks._queue_sides import BATCH, BATCH_QUEUE, THREADS, Jobs, Kind, Tally, WorkerProcess, declare, open_broker
from benchmarks.frame.figures import Figure, figure, ratio, waits
from benchmarks.frame.place import machine, own_folder, own_valkey, valkey_version
from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Check, Report
from benchmarks.frame.turns import Side, take_turns

# A pause before each message whose pick-up is timed, in seconds: long enough for a worker to be idle again, and never
# the same, or it would beat with the poll of a worker that polls.
PAUSE = (0.5, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much each turn does.

    Attributes:
        jobs: Sent one by one, then drained.
        batched: Sent in bulk to a batch job, then drained.
        pick_ups: Sent to an idle worker.
    """

    jobs: int
    batched: int
    pick_ups: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one turn measured; a side without batches has none."""

    one_by_one: float
    drain: float
    pick_ups: list[float]
    bulk: float | None = None
    batch_drain: float | None = None


# Short turns and many: what load there is should not change between two sides of a round.
WHOLE = Size(jobs=3_000, batched=30_000, pick_ups=15)
QUICK = Size(jobs=600, batched=6_000, pick_ups=6)


def measure(plan: Plan) -> Report:
    """Enqueue, drain and pick-up, in turns."""
    size = QUICK if plan.quick else WHOLE
    setup = machine()
    with own_folder() as folder, own_valkey(folder) as valkey:
        sides: list[Side[Turn]] = [
            Side(name=kind, turn=partial(_turn, kind, valkey.url, size)) for kind in ("stock", "ours")
        ]
        turns = take_turns(sides, plan)
        setup |= {
            "valkey": valkey_version(valkey.url),
            "appendfsync": "always",
            "processes": 1,
            "threads": THREADS,
            "jobs": size.jobs,
            "batched jobs": size.batched,
            "rounds": len(turns["ours"]),
            "load after": machine()["load before"],
        }
    return _report(turns, setup=setup)


def _turn(kind: Kind, url: str, size: Size) -> Turn:
    broker = open_broker(kind, url)
    jobs = declare(broker, Tally())
    try:
        one_by_one = _rate(size.jobs, lambda: _send_one_by_one(jobs, size.jobs))
        with WorkerProcess(kind, url) as worker:
            drain = _drain(worker, size.jobs)
            pick_ups = _pick_ups(worker, jobs, size.pick_ups)
        if jobs.batch is None:
            return Turn(one_by_one=one_by_one, drain=drain, pick_ups=pick_ups)
        bulk = _rate(size.batched, lambda: _send_in_bulk(url, size.batched))
        with WorkerProcess(kind, url) as worker:
            batch_drain = _drain(worker, size.batched)
        return Turn(one_by_one=one_by_one, drain=drain, pick_ups=pick_ups, bulk=bulk, batch_drain=batch_drain)
    finally:
        broker.close()
        with redis.Redis.from_url(url) as client:
            client.flushall()


def _rate(count: int, send: Callable[[], None]) -> float:
    began = time.perf_counter()
    send()
    return count / (time.perf_counter() - began)


def _send_one_by_one(jobs: Jobs, count: int) -> None:
    for number in range(count):
        jobs.nothing.send(message={"n": number})


def _send_in_bulk(url: str, count: int) -> None:
    with open_client(url) as client:
        Sender(client, prefix="bench").send(
            [
                Post(job="batch", queue=BATCH_QUEUE, message={"n": number}, id=str(uuid_utils.uuid7()))
                for number in range(count)
            ]
        )


def _drain(worker: WorkerProcess, count: int) -> float:
    worker.expect(count)
    seconds, _ = worker.result()
    return count / seconds


def _pick_ups(worker: WorkerProcess, jobs: Jobs, count: int) -> list[float]:
    chance = random.Random(count)  # noqa: S311 - the same pauses for every side
    worker.expect(count)
    for _ in range(count):
        time.sleep(chance.uniform(*PAUSE))
        jobs.pick_up.send(message={"sent": time.monotonic_ns()})
    _, waited = worker.result()
    return waited


def _report(turns: dict[str, list[Turn]], *, setup: dict[str, str | float]) -> Report:
    def rates(name: str, side: str, value: Callable[[Turn], float | None]) -> Figure:
        values = [found for turn in turns[side] if (found := value(turn)) is not None]
        return figure(name, side=side, unit="jobs/s", values=values)

    stock_send = rates("enqueue one by one", "stock", lambda turn: turn.one_by_one)
    our_send = rates("enqueue one by one", "ours", lambda turn: turn.one_by_one)
    bulk = rates("enqueue in bulk", "ours", lambda turn: turn.bulk)
    stock_drain = rates("drain of no-op jobs", "stock", lambda turn: turn.drain)
    our_drain = rates("drain of no-op jobs", "ours", lambda turn: turn.drain)
    batches = rates(f"drain in batches of {BATCH}", "ours", lambda turn: turn.batch_drain)
    stock_waits = waits("pick-up by an idle worker", side="stock", rounds=[turn.pick_ups for turn in turns["stock"]])
    our_waits = waits("pick-up by an idle worker", side="ours", rounds=[turn.pick_ups for turn in turns["ours"]])
    # Stock has neither bulk nor batches: what it does instead is what ours are held against.
    sent = ratio("enqueue one by one", our_send, stock_send)
    sent_in_bulk = ratio("enqueue in bulk against one by one", bulk, stock_send)
    drained = ratio("drain of no-op jobs", our_drain, stock_drain)
    drained_in_batches = ratio("drain in batches against one by one", batches, stock_drain)
    return Report(
        bench="queue",
        setup=setup,
        figures=[
            *(stock_send, our_send, sent, bulk, sent_in_bulk),
            *(stock_drain, our_drain, drained, batches, drained_in_batches),
            *(*stock_waits, *our_waits),
        ],
        checks=[
            Check.at_least("enqueue in bulk, ours against stock one by one", sent_in_bulk.median, 10, unit="times"),
            Check.at_least("drain of no-op jobs, ours against stock", drained.median, 10, unit="times"),
            Check.at_least("drain in batches, ours against stock", drained_in_batches.median, 10, unit="times"),
            Check.at_most("pick-up by an idle worker, p50, ours", our_waits[0].median, 3, unit="ms"),
            Check.at_most("pick-up by an idle worker, p99, ours", our_waits[1].median, 10, unit="ms"),
        ],
    )
