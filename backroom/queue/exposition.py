"""What Prometheus reads: what happened in this process, and how the queues stand.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from backroom.domain.errors import QueueAway
from backroom.queue.tally import BOUNDS, UNKNOWN, Counts, Spread, Tally

if TYPE_CHECKING:
    from backroom.queue.ops import Depth, Queues

PREFIX = "backroom_queue_"
# So long the engine is not asked again, however many ask us.
FRESH = timedelta(seconds=1)

HAPPENED = {
    "enqueued": "Messages put on the queue from this process; one that was seen before does not count.",
    "started": "Attempts begun; each message of a batch counts.",
    "done": "Messages done.",
    "failed": "Attempts that failed, whatever followed.",
    "retried": "Messages that come again after a failed attempt.",
    "snoozed": "Messages that come again later without having failed.",
    "dead": "Messages given up: to the dead letters.",
    "cancelled": "Messages stopped on purpose while they ran.",
    "released": "Messages that went back untouched: an engine was away, or the worker stopped.",
}
SPREADS: dict[str, tuple[str, Callable[[Counts], Spread]]] = {
    "wait_seconds": (
        "From when a message was sent until an attempt began, wished delays included and retries left out.",
        lambda one: one.wait,
    ),
    "run_seconds": ("How long an attempt took; a batch is one attempt.", lambda one: one.run),
}
BY_QUEUE: dict[str, tuple[str, Callable[[Depth], float | None]]] = {
    "ready": ("Messages that could be taken now.", lambda depth: depth.ready),
    "delayed": ("Messages that are due later.", lambda depth: depth.delayed),
    "limited": ("Messages that wait for a limit.", lambda depth: depth.limited),
    "inflight": ("Messages that a worker holds.", lambda depth: depth.inflight),
    "oldest_age_seconds": (
        "How long ago the first ready message was sent; 0 where none is ready.",
        lambda depth: depth.oldest.total_seconds() if depth.oldest else 0,
    ),
    "paused": ("1 while nothing is taken out.", lambda depth: depth.intake == "paused"),
    "draining": ("1 while nothing is taken in.", lambda depth: depth.intake == "draining"),
}
OVER_ALL = {
    "up": "1 if Valkey answered; otherwise what it would have told is missing.",
    "workers_alive": "Workers whose lease stands.",
    "dead_letters": "Messages among the dead letters.",
}


def happened_name(name: str) -> str:
    """The full name of a counter."""
    return f"{PREFIX}messages_{name}_total"


class Happened(Collector):
    """What this process has counted."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Every counter and histogram, by queue and job."""
        total = self._tally.total()
        for name, about in HAPPENED.items():
            counter = CounterMetricFamily(happened_name(name), about, labels=("queue", "job"))
            for of, counts in total.items():
                counter.add_metric(of, getattr(counts, name))
            yield counter
        for name, (about, spread) in SPREADS.items():
            histogram = HistogramMetricFamily(PREFIX + name, about, labels=("queue", "job"))
            for of, counts in total.items():
                found = spread(counts)
                histogram.add_metric(of, _buckets(found), found.seconds)
            yield histogram


class Standing(Collector):
    """How the queues stand, read from the engine when somebody asks. Another one would read the same.

    Args:
        queues: The engine.
        known: Names of the queues there are; any other is added up as `unknown`.
    """

    def __init__(self, queues: Queues, *, known: Iterable[str]) -> None:
        self._queues = queues
        self._known = frozenset(known)
        self._lock = Lock()
        self._read: list[Metric] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register must not ask the engine."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every gauge; only `up` where the engine does not answer."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH.total_seconds():
                self._read = list(self._ask())
                self._read_at = time.monotonic()
            found = self._read
        yield from found

    def _ask(self) -> Iterator[Metric]:
        try:
            depths, workers, dead = self._queues.depths(), self._queues.workers(), self._queues.dead_count()
        except QueueAway:
            yield _gauge("up", OVER_ALL["up"], 0)
            return
        alive = sum(one.lease_left > timedelta(0) for one in workers)
        for one, count in (("up", 1), ("workers_alive", alive), ("dead_letters", dead)):
            yield _gauge(one, OVER_ALL[one], count)
        for name, (about, value_of) in BY_QUEUE.items():
            gauge = GaugeMetricFamily(PREFIX + name, about, labels=("queue",))
            values: dict[str, float] = {}
            for depth in depths.values():
                queue = depth.queue if depth.queue in self._known else UNKNOWN
                value = float(value_of(depth) or 0)
                # Numbers of messages add up; ages and states do not.
                both = (values.get(queue, 0.0), value)
                values[queue] = sum(both) if name in {"ready", "delayed", "limited", "inflight"} else max(both)
            for queue, value in sorted(values.items()):
                gauge.add_metric((queue,), value)
            yield gauge


def registry(tally: Tally, standing: Standing | None = None) -> CollectorRegistry:
    """What a process shows: what it counted, how the queues stand if it is to say so, and its own memory and time."""
    built = CollectorRegistry()
    built.register(Happened(tally))
    if standing is not None:
        built.register(standing)
    ProcessCollector(registry=built)
    return built


def table() -> Iterator[tuple[str, str, str, str]]:
    """Every metric of ours: name, kind, labels, meaning."""
    for name, about in HAPPENED.items():
        yield happened_name(name), "counter", "queue, job", about
    for name, (about, _) in SPREADS.items():
        yield PREFIX + name, "histogram", "queue, job", about
    for name, (about, _) in BY_QUEUE.items():
        yield PREFIX + name, "gauge", "queue", about
    for name, about in OVER_ALL.items():
        yield PREFIX + name, "gauge", "", about


def is_token(header: str, token: str) -> bool:
    """Whether an `Authorization` header says this token."""
    return hmac.compare_digest(header.encode(errors="replace"), f"Bearer {token}".encode())


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, about, value=value)


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    built, so_far = list[tuple[str, float]](), 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), spread.counts, strict=True):
        so_far += count
        built.append((bound, float(so_far)))
    return built
