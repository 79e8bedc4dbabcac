"""The clock: puts the message of every tick on the queue, once, however many clocks run.

`python -m scheduler` is the whole command. Schedules stand on the shelves (`every=` on a job or a rule), and the clock
keeps nothing: a tick is known by its schedule and the time it was due, and the queue remembers which ticks it has seen.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from backroom import connect
from backroom.domain.errors import BackroomError, Invalid, QueueAway
from backroom.domain.job import Job, Message
from backroom.domain.schedule import Schedule, schedule
from backroom.logs import configure
from backroom.queue.post import post_for
from backroom.queue.sender import Sender
from backroom.queue.wire import Once, Post
from backroom.settings import settings
from backroom.shelf import Shelves

log = structlog.get_logger()

# How long the queue knows a tick again. A clock that starts catches up on what is safely younger than that.
REMEMBERED = timedelta(days=7)
CATCH_UP = timedelta(days=6)
# While Valkey is away: how long to wait between two tries.
FIRST_WAIT = timedelta(milliseconds=250)
LONGEST_WAIT = timedelta(seconds=5)
# What is not sent by then is sent by the clock that starts next.
GRACE = timedelta(milliseconds=500)

CHECK = "rule.check"
_TICKS = uuid.UUID("6f1c9b62-52a7-4c0b-9f5c-3f1f0d1f7d0e")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Something that is asked for again and again.

    Attributes:
        name: `job:` or `rule:` and its name.
        schedule: When.
        job: Which job.
        message: What is asked of it.
    """

    name: str
    schedule: Schedule
    job: Job
    message: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """An entry that is due."""

    entry: Entry
    due: datetime

    def post(self) -> Post:
        """Its message, which is the same whichever clock sends it, and whenever."""
        name = f"{self.entry.name}@{self.due.isoformat()}"
        id = str(uuid.uuid5(_TICKS, name))
        return post_for(self.entry.job, self.entry.message, id=id, once=Once(key=f"tick:{name}", window=REMEMBERED))


def entries(shelves: Shelves) -> list[Entry]:
    """Everything on the shelves that has a schedule.

    Raises:
        Invalid: A schedule cannot be read, or its message cannot be made without being told more.
    """
    return [*_jobs(shelves), *_rules(shelves)]


def _jobs(shelves: Shelves) -> Iterator[Entry]:
    for job in shelves.jobs.values():
        if job.every is None:
            continue
        name = f"job:{job.name}"
        try:
            message = job.message()
        except TypeError as error:
            right = "give every field a default, and go through each_app() where the work is an application's"
            raise Invalid(
                name, f"has a schedule, but {job.message.__name__} has a field without a default", right
            ) from error
        yield Entry(name=name, schedule=_schedule(name, job.every), job=job, message=message)


def _rules(shelves: Shelves) -> Iterator[Entry]:
    for rule in shelves.rules.values():
        name = f"rule:{rule.name}"
        check: Job | None = shelves.jobs.get(CHECK)
        if check is None:
            raise Invalid(name, f"has a schedule, but no job named {CHECK} is on the shelf")
        # Without an application: the job finds out for which it is.
        message = check.message(rule=rule.name)
        yield Entry(name=name, schedule=_schedule(name, rule.every), job=check, message=message)


def _schedule(name: str, every: str | timedelta) -> Schedule:
    try:
        return schedule(every)
    except Invalid as error:
        raise Invalid(name + error.field, error.wrong, error.right) from error


class Clock:
    """Wakes up when something is due, and sends until the queue has it.

    Args:
        entries: What is due when.
        send: Puts posts on the queue.
    """

    def __init__(self, entries: Sequence[Entry], send: Callable[[Sequence[Post]], object]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._send = send
        self._changed = threading.Condition()
        # Only the last tick of each: while the queue is away, what is missed again and again is asked for once.
        self._due: dict[str, Tick] = {}

    def run(self, stop: threading.Event) -> None:
        """Tick until told to stop.

        Args:
            stop: Set from outside to stop, and set here when the clock cannot go on.
        """
        started = datetime.now(UTC)
        for entry in self._entries.values():
            last = entry.schedule.last_before(started)
            # Perhaps no clock ran then. If one did, the queue knows this tick.
            if last > started - CATCH_UP:
                self._ring(entry.name, last)
        alarm = BackgroundScheduler(timezone=UTC, executors={"default": _Bell(self._ring)})
        for entry in self._entries.values():
            alarm.add_job(
                _nothing,
                _Due(entry.schedule, started),
                id=entry.name,
                coalesce=True,
                misfire_grace_time=None,
                max_instances=1,
            )
        messenger = threading.Thread(target=self._deliver, args=(stop,), name="messenger", daemon=True)
        messenger.start()
        alarm.start()
        log.info("clock.started", schedules=len(self._entries))
        stop.wait()
        alarm.shutdown(wait=False)
        with self._changed:
            self._changed.notify_all()
        messenger.join(GRACE.total_seconds())
        log.info("clock.stopped")

    def _ring(self, name: str, due: datetime) -> None:
        with self._changed:
            self._due[name] = Tick(entry=self._entries[name], due=due)
            self._changed.notify_all()

    def _deliver(self, stop: threading.Event) -> None:
        wait = FIRST_WAIT
        try:
            while not stop.is_set():
                ticks = self._next(stop)
                try:
                    self._send([tick.post() for tick in ticks])
                except QueueAway as error:
                    log.warning("clock.waiting", ticks=len(ticks), again_in=wait.total_seconds(), error=str(error))
                    stop.wait(wait.total_seconds())
                    wait = min(2 * wait, LONGEST_WAIT)
                else:
                    wait = FIRST_WAIT
                    self._forget(ticks)
        finally:
            # A clock that shows the time and rings no bell is worse than none.
            stop.set()

    def _next(self, stop: threading.Event) -> list[Tick]:
        with self._changed:
            self._changed.wait_for(lambda: self._due or stop.is_set())
            return list(self._due.values())

    def _forget(self, ticks: Sequence[Tick]) -> None:
        with self._changed:
            for tick in ticks:
                log.debug("clock.ticked", schedule=tick.entry.name, due=tick.due.isoformat())
                if self._due.get(tick.entry.name) == tick:
                    del self._due[tick.entry.name]


class _Due(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """A schedule of ours, as APScheduler asks for it."""

    def __init__(self, schedule: Schedule, started: datetime) -> None:
        self._schedule = schedule
        self._started = started

    def get_next_fire_time(self, previous: datetime | None, _now: datetime) -> datetime:
        """The due time after the last one, never counted from now: a late alarm must not shift what it rings for."""
        return self._schedule.next_after(previous or self._started)


class _Bell(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Rings with the time that was due. APScheduler's own executors call a function, and do not say what for."""

    def __init__(self, ring: Callable[[str, datetime], None]) -> None:
        super().__init__()
        self._ring = ring

    def submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        """Ring for the last of the due times: after a machine has slept, missed ones are one."""
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        self._ring(job.id, run_times[-1])


def _nothing() -> None:
    """APScheduler wants a function; the bell does the work."""


def main() -> None:
    """Run the clock of this house until SIGTERM or SIGINT."""
    configure(settings(), door="clock")
    stop = threading.Event()
    told = threading.Event()

    def halt(*_: object) -> None:
        told.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, halt)
    try:
        sender = Sender(connect.valkey(settings()), prefix=settings().key_prefix)
        clock = Clock(entries(Shelves(settings().shelves)), sender.send)
    except BackroomError as error:
        raise SystemExit(f"the clock cannot start: {error}") from error
    clock.run(stop)
    if not told.is_set():
        raise SystemExit("the clock cannot go on")


if __name__ == "__main__":
    main()
