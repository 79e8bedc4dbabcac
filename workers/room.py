"""The engine room's composition root: real connections in, a broker with bound jobs out."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import dramatiq
import msgspec
import redis
import structlog
import uuid_utils
from dramatiq.middleware import Middleware
from sqlalchemy import Engine

from backroom import connect
from backroom.logs import configure
from backroom.queue.answers import Answers
from backroom.queue.broker import ValkeyBroker
from backroom.queue.counted import CountedSender
from backroom.queue.metrics import Metrics
from backroom.queue.middleware import usual
from backroom.queue.running import Running
from backroom.queue.tally import Tally
from backroom.settings import Settings, settings
from backroom.shelf import Shelves, carriers
from backroom.store.unit import Store
from backroom.tools import HandOn, House
from backroom.words import Words
from workers.bind import bind, send_on
from workers.isolation import Cells
from workers.sight import Sighting
from workers.tie import end_with
from workers.traced import name_trace

log = structlog.get_logger()

# In seconds. Later than that somebody has lost patience.
COPIES_WITHIN = 2.0
LOOK_FOR_SUPERVISOR = 1.0
# A worker that can stop begins to within a second.
STOPS_WITHIN = 5.0
ORPHAN_GRACE_MS = 25_000


def open_room() -> dramatiq.Broker:
    """Configure this process and build its broker."""
    configure(settings(), door="worker", more=[name_trace])
    supervisor = multiprocessing.parent_process()
    end_with(supervisor.pid if supervisor else None)
    return build(settings())


def build(settings: Settings, *, worker_name: str | None = None) -> dramatiq.Broker:
    """A broker with every job on the shelf bound to it.

    Args:
        settings: Where the engines are, and what stands on the shelves.
        worker_name: A name for what consumes here, which nobody else has; one is made if None.
    """
    shelves = Shelves(settings.shelves)
    stopping = threading.Event()
    tally = Tally(shelves.jobs)
    client = connect.valkey(settings)
    engine = connect.engine(settings, door="backroom_worker", connections=None)
    broker = ValkeyBroker(
        client,
        prefix=settings.key_prefix,
        lease=settings.lease,
        middleware=[_metrics(tally, settings), *usual(), Stopping(stopping, engine), AskedOnce(), NoOrphan(stopping)],
        worker_name=worker_name,
        discreet=True,
    )
    cells = Cells(settings, cancelled=broker.cancelled)
    broker.add_middleware(cells)
    house = furnish(settings, shelves, client, engine, stopping=stopping, cancelled=broker.cancelled, tally=tally)
    bind(broker, shelves.jobs.values(), house, elsewhere=cells.run)
    return broker


def furnish(
    settings: Settings,
    shelves: Shelves,
    client: redis.Redis,
    engine: Engine,
    *,
    stopping: threading.Event,
    cancelled: Callable[[str], bool],
    tally: Tally | None = None,
) -> House:
    """What the jobs of a process work with.

    Args:
        settings: The house's.
        shelves: What stands on them.
        client: Valkey.
        engine: PostgreSQL.
        stopping: Set when the process is asked to stop.
        cancelled: Whether somebody wants a message that is being worked on cancelled.
        tally: Where to count what is handed on; nowhere that anybody looks, if None.
    """
    store = Store(engine)
    sender = CountedSender(client, tally=tally or Tally(), prefix=settings.key_prefix, always=True)
    answers = Answers(client, prefix=settings.key_prefix)
    running = Running(client, prefix=settings.key_prefix)

    def hand_on(later: Sequence[HandOn]) -> None:
        send_on(later, job_for=shelves.job_for, send=sender.send)

    def answer(message: str, outcome: Mapping[str, Any]) -> None:
        answers.give(message, msgspec.json.encode(outcome))

    def pause(wait: timedelta) -> None:
        stopping.wait(wait.total_seconds())

    return House(
        now=lambda: datetime.now(UTC),
        new_id=lambda: str(uuid_utils.uuid7()),
        chance=random.random,
        unit=store.unit,
        apps=store.apps,
        house_app=store.house,
        hand_on=hand_on,
        answer=answer,
        channels=carriers(
            shelves,
            simulator_url=settings.simulator_url,
            simulator_smtp_port=settings.simulator_smtp_port,
            order=settings.carriers,
        ),
        words=Words(shelves.templates),
        rules=shelves.rules,
        sight=Sighting,
        stopping=stopping.is_set,
        pause=pause,
        cancelled=cancelled,
        progress=running.progress,
        admit=running.admit,
    )


def _metrics(tally: Tally, settings: Settings) -> Metrics:
    token = settings.metrics_token.get_secret_value()
    return Metrics(tally, port=settings.metrics_port, host=settings.metrics_host, token=token)


class Stopping(Middleware):
    """Tells long jobs that this process has been asked to stop, and lets go of PostgreSQL when the last has ended."""

    def __init__(self, stopping: threading.Event, engine: Engine) -> None:
        self._stopping = stopping
        self._engine = engine

    def before_worker_shutdown(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        """The first step of a graceful stop."""
        self._stopping.set()

    def after_worker_shutdown(self, _broker: dramatiq.Broker, _worker: dramatiq.Worker) -> None:
        """The last step of a graceful stop."""
        self._engine.dispose()


class AskedOnce(Middleware):
    """Takes the copies of one request to stop for one.

    Who stops a whole process group (systemd by default) asks us, and Dramatiq's supervisor asks us again. A second
    request drops what is under way, so letters on their way to a carrier would end as unknown.
    """

    def after_process_boot(self, _broker: dramatiq.Broker) -> None:
        """Stand before the handler that Dramatiq has set just now."""
        stop = signal.getsignal(signal.SIGTERM)
        asked = 0.0

        def ask(signum: int, frame: FrameType | None) -> None:
            nonlocal asked
            if callable(stop) and (not asked or time.monotonic() - asked > COPIES_WITHIN):
                asked = asked or time.monotonic()
                stop(signum, frame)

        signal.signal(signal.SIGTERM, ask)


class NoOrphan(Middleware):
    """Ends this process when Dramatiq's supervisor is gone and its own way to stop is barred.

    A worker that has started says so to its supervisor, and waits until that has heard. One that was killed before it
    could hear leaves the worker waiting for ever, asked to stop and still at work.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Watch from now on, where there is a supervisor."""
        supervisor = multiprocessing.parent_process()
        if supervisor is not None:
            threading.Thread(
                target=self._watch, args=(supervisor.pid, broker, worker), name="backroom-orphan", daemon=True
            ).start()

    def _watch(self, supervisor: int | None, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        while os.getppid() == supervisor:
            if self._stopping.wait(LOOK_FOR_SUPERVISOR):
                return
        if not self._stopping.wait(STOPS_WITHIN):
            log.warning("worker.orphaned")
            worker.stop(timeout=ORPHAN_GRACE_MS)
            broker.close()
            os._exit(1)
