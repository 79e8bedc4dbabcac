"""Looks at a worker, its sender and their engine from outside: what each of them holds just now."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import redis
from prometheus_client.parser import text_string_to_metric_families

from backroom.queue.exposition import HAPPENED, happened_name
from backroom.queue.open import base
from backroom.queue.ops import Queues
from benchmarks.frame.place import processor_seconds

# What is measured, and of whom.
What = tuple[str, str]
Ended = Counter[tuple[str, str]]
MEMORY = "private memory"
THREADS = "threads"
FILES = "open files"
USED = "used memory"
KEYS = "keys"
ENTRIES = "entries"
WAITING = "jobs that wait in line"
HELD = "messages that queues count"
ENDS = "ends that are remembered"
LONG_KEPT = "ends kept for an hour"
OVERDUE = "ends beyond their time"
WORKER = "worker"
ISOLATED = "isolated jobs"
SUPERVISOR = "supervisor"
SENDER = "sender"
VALKEY = "Valkey"

MB = 1_000_000
AT_A_TIME = 500
# An end without a worker's word is remembered for an hour, any other for ten minutes here.
LONG = timedelta(minutes=10, seconds=30)
# A worker looks with every fetch for what may be forgotten.
PATIENCE = timedelta(seconds=10)
WRITTEN = re.compile(r"^(?:Private_Dirty|Swap):\s+(\d+) kB$", re.MULTILINE)
# How to ask for the size of each type of key.
SIZES = {b"hash": "HLEN", b"zset": "ZCARD", b"set": "SCARD", b"list": "LLEN"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        at: Seconds since the load began.
        values: By what is measured, and of whom.
        entries: How many things each kind of key holds at the engine, all keys of that kind together.
        seconds: Processor time that each has had.
        worker: The process that works, if there is one.
        ended: How often the worker has counted what, by counter and job.
    """

    at: float
    values: Mapping[What, float]
    entries: Mapping[str, int]
    seconds: Mapping[str, float]
    worker: int | None
    ended: Ended = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Whom to look at.

    Attributes:
        supervisor: Of the worker.
        engine: Valkey's process.
        client: Asks it.
        prefix: What every key of the house starts with.
        metrics: Where the worker shows its counts.
        began: When the load began, by the monotonic clock.
        sender: Who sends, if somebody does.
    """

    supervisor: psutil.Process
    engine: psutil.Process
    client: redis.Redis
    prefix: str
    metrics: str
    began: float
    sender: psutil.Process | None = None

    def look(self) -> Sample:
        """See all of them once."""
        values: dict[What, float] = {}
        seconds: dict[str, float] = {}
        parts = self._parts()
        for who, process in parts.items():
            # Whoever dies just now is missed by whoever looks at what came of it.
            with suppress(psutil.Error, OSError):
                seconds[who] = processor_seconds(process)
                if who != VALKEY:
                    values |= _held(who, process)
        entries = self._entries()
        return Sample(
            at=time.monotonic() - self.began,
            values=values | self._engine(entries),
            entries=entries,
            seconds=seconds,
            worker=parts[WORKER].pid if WORKER in parts else None,
            ended=self._ended(),
        )

    def _parts(self) -> dict[str, psutil.Process]:
        found = {SUPERVISOR: self.supervisor, VALKEY: self.engine}
        if self.sender is not None:
            found[SENDER] = self.sender
        for child in self.supervisor.children(recursive=True):
            words: list[str] = []
            with suppress(psutil.Error):
                words = child.cmdline()
            if "workers.child" in words:
                found[WORKER] = child
            elif "workers.cell" in words:
                found[ISOLATED] = child
        return found

    def _engine(self, entries: Mapping[str, int]) -> dict[What, float]:
        used = float(self.client.info("memory")["used_memory"])
        seconds, spare = self.client.time()
        now = seconds * 1000 + spare // 1000
        done = f"{base(self.prefix)}done"
        ends = self.client.zcard(done)
        long_kept = self.client.zcount(done, now + LONG.total_seconds() * 1000, "+inf")
        overdue = self.client.zcount(done, "-inf", now - PATIENCE.total_seconds() * 1000)
        depths = Queues(self.client, prefix=self.prefix).depths().values()
        return {
            (USED, VALKEY): used / MB,
            (KEYS, VALKEY): float(self.client.dbsize()),
            (ENTRIES, VALKEY): float(sum(entries.values())),
            (ENDS, VALKEY): float(ends),
            (WAITING, VALKEY): float(entries.get("line", 0)),
            (HELD, VALKEY): float(sum(depth.waiting + depth.inflight for depth in depths)),
            (LONG_KEPT, VALKEY): float(long_kept),
            (OVERDUE, VALKEY): float(overdue),
        }

    def _entries(self) -> dict[str, int]:
        """No list of keys to remember: whatever is there is counted."""
        found: Counter[str] = Counter()
        start = base(self.prefix)
        keys = list(self.client.scan_iter(match=f"{start}*", count=AT_A_TIME))
        for at in range(0, len(keys), AT_A_TIME):
            some = keys[at : at + AT_A_TIME]
            for key, size in zip(some, self._sizes(some), strict=True):
                name = key.decode(errors="replace").removeprefix(start)
                found[name.partition(":")[0].partition("!")[0]] += size
        return dict(found)

    def _sizes(self, keys: list[bytes]) -> Iterator[int]:
        with self.client.pipeline(transaction=False) as asked:
            for key in keys:
                asked.type(key)
            types = asked.execute()
            for key, kind in zip(keys, types, strict=True):
                asked.execute_command(SIZES.get(kind, "EXISTS"), key)  # type: ignore[no-untyped-call]  # redis has no types here
            # A key may have become another's type, or gone, between the two.
            yield from (size if isinstance(size, int) else 0 for size in asked.execute(raise_on_error=False))

    def _ended(self) -> Ended:
        try:
            shown = httpx.get(self.metrics, trust_env=False).raise_for_status().text
        except httpx.HTTPError:
            return Counter()
        names = {happened_name(name): name for name in HAPPENED}
        return Counter(
            {
                (names[sample.name], sample.labels["job"]): int(sample.value)
                for family in text_string_to_metric_families(shown)
                for sample in family.samples
                if sample.name in names
            }
        )


def _held(who: str, process: psutil.Process) -> dict[What, float]:
    return {
        (MEMORY, who): private_megabytes(process),
        (THREADS, who): float(process.num_threads()),
        (FILES, who): float(process.num_fds()),
    }


def private_megabytes(process: psutil.Process) -> float:
    """What a process has written for itself, in memory or on the disk of a machine that ran short.

    On Linux without what it has only read: whether a library's pages count as its own depends on who else uses the same
    Python just now.
    """
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return float(process.memory_full_info().uss) / MB
    return sum(1024 * int(kilobytes) for kilobytes in WRITTEN.findall(rollup)) / MB
