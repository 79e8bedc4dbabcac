"""A moment of the soak, on a real Valkey and with a real worker."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import redis

from benchmarks import soak
from benchmarks._soak_watch import (
    ENDS,
    ENTRIES,
    HELD,
    LONG_KEPT,
    MEMORY,
    OVERDUE,
    VALKEY,
    WAITING,
    Watch,
    private_megabytes,
)
from benchmarks.frame.plan import Plan
from tests.integration.queue_engine import running


def test_a_short_soak_sends_works_and_watches_and_leaves_nobody_behind():
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    report = soak.measure(Plan(quick=True, rounds=1, rounds_end=time.monotonic() + 8))

    figures = {(one.name, one.side): one for one in report.figures}
    checks = {one.name: one for one in report.checks}
    for who in ("worker", "sender", "supervisor"):
        assert figures[MEMORY, who].lowest > 5
    assert figures["messages fresh", "sender"].median > 0
    assert figures[ENTRIES, VALKEY].highest > 0
    assert checks["kinds of ends that happened, exactly"].value > 0
    assert checks["worker processes one after another, exactly"].ok
    assert checks["ends that are remembered too long, exactly"].ok
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_everything_that_the_engine_holds_is_counted_whatever_it_is(tmp_path: Path):
    with running(tmp_path) as engine, redis.Redis.from_url(engine.url) as client:
        now = time.time() * 1000
        client.hset("{x}:msgs", mapping={"a": 1, "b": 2})
        client.rpush("{x}:line:q:2", "a", "b", "c")
        client.rpush("{x}:line:r:2", "d")
        client.sadd("{x}:holders:l", "a")
        client.set("{x}:unique:k", "a")
        client.hset("{x}:limited!q", "l", 1)
        client.hset("{x}:queues", mapping={"q": 3, "r": 1})
        client.hset("{x}:busy", "q", 2)
        # Two that are overdue, one that is remembered as usual, one that is remembered for an hour.
        ends = {"e": now - 60_000, "f": now - 60_000, "g": now + 60_000, "h": now + 3_000_000}
        client.zadd("{x}:done", ends)
        client.set("{y}:somebody-else", 1)
        us = psutil.Process()
        watch = Watch(
            supervisor=us,
            engine=us,
            client=client,
            prefix="x",
            metrics="http://127.0.0.1:1/metrics",
            began=time.monotonic(),
        )

        seen = watch.look()

    assert seen.entries == {
        "msgs": 2,
        "line": 4,
        "holders": 1,
        "unique": 1,
        "limited": 1,
        "queues": 2,
        "busy": 1,
        "done": 4,
    }
    assert seen.values[WAITING, VALKEY] == 4
    assert seen.values[LONG_KEPT, VALKEY] == 1
    assert seen.values[OVERDUE, VALKEY] == 2
    assert seen.values[ENTRIES, VALKEY] == 16
    assert seen.values[HELD, VALKEY] == 6
    assert seen.values[ENDS, VALKEY] == 4
    assert seen.worker is None
    assert not seen.ended


def test_what_a_process_writes_is_its_own():
    us = psutil.Process(os.getpid())
    before = private_megabytes(us)

    block = bytearray(b"x" * 30_000_000)

    assert private_megabytes(us) - before > 25
    del block
