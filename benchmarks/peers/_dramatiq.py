"""What both Dramatiq brokers have in common: the actors, and Dramatiq's worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import dramatiq

from benchmarks.peers._jobs import JOBS
from benchmarks.peers._place import Place

QUEUE = "bench"


class DramatiqPeer:
    """Actors with one message each, as ours take it."""

    def __init__(self, broker: dramatiq.Broker, place: Place) -> None:
        self.broker = broker
        self.place = place
        self.actors = {name: self.actor(name, _with_message(job)) for name, job in JOBS.items()}

    def actor(
        self, name: str, function: Callable[..., None], *, queue: str = QUEUE, **options: Any
    ) -> dramatiq.Actor[..., Any]:
        """Declare a job."""
        return dramatiq.actor(broker=self.broker, actor_name=name, queue_name=queue, **options)(function)

    def work(self) -> None:
        """Dramatiq's own worker, until SIGTERM."""
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        worker = dramatiq.Worker(self.broker, worker_threads=self.place.threads)
        worker.start()
        over.wait()
        worker.stop(timeout=5_000)
        self.broker.close()


def _with_message(job: Callable[[int], None]) -> Callable[..., None]:
    def run(message: dict[str, int]) -> None:
        job(message["n"])

    return run
