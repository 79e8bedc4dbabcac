"""The clock asks for each tick once: with two of them, after a crash, and while Valkey is away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backroom.domain.errors import QueueAway
from backroom.domain.schedule import schedule
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from backroom.shelf import Shelves
from scheduler import CATCH_UP, Clock, Entry, Tick, entries
from tests.house import TestHouse, free_port, until
from tests.integration.queue_engine import Engine

ROOT = Path(__file__).parent.parent.parent
JOB = '''
"""A job that notes its ticks."""
from datetime import timedelta
from pathlib import Path

from backroom.domain.job import {base}, job
from backroom.tools import Tools


class Note({base}, frozen=True, kw_only=True):
    """Nothing to say."""


@job("{name}", queue="{name}", every=timedelta(seconds=1))
def note(message: Note, tools: Tools) -> None:
    """Note the tick."""
    with Path(__file__).with_name("ticks.txt").open("a") as file:
        file.write(tools.message_id + "\\n")
'''


class Shelf:
    """An application's own shelf with one job that is due every second."""

    def __init__(self, folder: Path, *, base: str = "Message") -> None:
        self.package = f"shop_{uuid.uuid4().hex}"
        self.job = f"note.{uuid.uuid4().hex}"
        self.jobs = folder / self.package / "jobs"
        self.jobs.mkdir(parents=True)
        (self.jobs.parent / "__init__.py").touch()
        (self.jobs / "__init__.py").touch()
        (self.jobs / "note.py").write_text(JOB.format(base=base, name=self.job))

    def ran(self) -> list[str]:
        """The ids of the messages that were worked on."""
        file = self.jobs / "ticks.txt"
        return file.read_text().splitlines() if file.exists() else []

    def ids(self, since: datetime, until: datetime) -> dict[str, datetime]:
        """The ids of the ticks that are due from one moment to another."""
        (entry,) = (entry for entry in entries(Shelves([self.package])) if entry.job.name == self.job)
        due, found = entry.schedule.last_before(since), {}
        while due <= until:
            found[Tick(entry=entry, due=due).post().id] = due
            due = entry.schedule.next_after(due)
        return found


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.syspath_prepend(tmp_path)
    return Shelf(tmp_path)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_clock(house: TestHouse, shelf: Shelf, tmp_path: Path) -> Iterator[Start]:
    """Starts clocks of the house, as processes of their own, with their log in a file."""
    started: list[subprocess.Popen[str]] = []

    def start(*, redis_url: str = "", package: str = "") -> subprocess.Popen[str]:
        environment = os.environ | {
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "REDIS_URL": redis_url or house.settings.redis_url,
            "KEY_PREFIX": house.settings.key_prefix,
            "BACKROOM_SHELVES": package or shelf.package,
            "LOG_FORMAT": "json",
        }
        with (tmp_path / "clock.log").open("a") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "scheduler"], env=environment, cwd=tmp_path, stderr=log, text=True
                )
            )
        return started[-1]

    yield start
    for clock in started:
        clock.kill()
        clock.wait()


def said(folder: Path, event: str) -> int:
    """How often the clocks have logged something."""
    log = folder / "clock.log"
    return log.read_text().count(f'"event": "{event}"') if log.exists() else 0


def now() -> datetime:
    return datetime.now(UTC)


def test_two_clocks_give_one_run_for_each_tick(house: TestHouse, shelf: Shelf, start_clock: Start, tmp_path: Path):
    house.start_worker(backroom_shelves=shelf.package)
    start_clock()
    start_clock()
    until(lambda: said(tmp_path, "clock.started") == 2, what="both clocks run")
    since = now()

    until(lambda: now() - since > timedelta(seconds=4) and shelf.ran(), what="some ticks have passed")
    expected = shelf.ids(since + timedelta(seconds=1), now() - timedelta(seconds=1))

    until(lambda: expected.keys() <= set(shelf.ran()), what="every tick ran")
    assert len(shelf.ran()) == len(set(shelf.ran()))


def test_a_clock_that_was_killed_catches_up_on_one_missed_tick(
    house: TestHouse, shelf: Shelf, start_clock: Start, tmp_path: Path
):
    house.start_worker(backroom_shelves=shelf.package)
    clock = start_clock()
    until(lambda: len(shelf.ran()) > 1, what="it ticks")
    clock.send_signal(signal.SIGKILL)
    clock.wait()
    killed = now()

    until(lambda: now() - killed > timedelta(seconds=4), what="ticks are missed")
    restarted = now()
    start_clock()
    until(lambda: set(shelf.ids(now() - timedelta(seconds=2), now())) & set(shelf.ran()), what="it ticks again")

    missed = shelf.ids(killed + timedelta(seconds=1), restarted)
    caught_up = [id for id in shelf.ran() if id in missed]
    # At most the last one: a process takes a moment to start, and what it catches up on may be due after that.
    assert len(caught_up) <= 1
    assert len(shelf.ran()) == len(set(shelf.ran()))


def test_a_missed_tick_runs_when_a_clock_starts_and_only_once(house: TestHouse, shelf: Shelf):
    (entry,) = (one for one in entries(Shelves([shelf.package])) if one.job.name == shelf.job)
    # Due once, an hour ago.
    past = now() - timedelta(hours=1)
    daily = schedule(f"{past.minute} {past.hour} * * *")
    entry = Entry(name="job:daily", schedule=daily, job=entry.job, message=entry.message)
    sender = Sender(open_client(house.settings.redis_url), prefix=house.settings.key_prefix)
    house.start_worker(backroom_shelves=shelf.package)

    posted = []
    for _ in range(3):
        stop = threading.Event()
        sent = threading.Event()

        def send(posts, sent=sent):
            posted.extend(sender.send(posts))
            sent.set()

        thread = threading.Thread(target=Clock([entry], send).run, args=(stop,))
        thread.start()
        assert sent.wait(20)
        stop.set()
        thread.join(20)

    until(shelf.ran, what="it ran")
    assert [one.fresh for one in posted] == [True, False, False]
    assert shelf.ran() == [Tick(entry=entry, due=past.replace(second=0, microsecond=0)).post().id]


def test_a_tick_that_the_queue_may_have_forgotten_is_not_asked_for_again(shelf: Shelf):
    (entry,) = (one for one in entries(Shelves([shelf.package])) if one.job.name == shelf.job)
    old = now() - CATCH_UP - timedelta(days=2)
    yearly = schedule(f"0 0 {old.day} {old.month} *")
    both = [entry, Entry(name="job:yearly", schedule=yearly, job=entry.job, message=entry.message)]
    stop, rung = threading.Event(), []
    thread = threading.Thread(target=Clock(both, rung.extend).run, args=(stop,))

    thread.start()
    until(lambda: rung, what="what is younger is caught up on")
    stop.set()
    thread.join(20)

    assert Tick(entry=both[1], due=yearly.last_before(now())).post() not in rung
    assert {post.id for post in rung} <= shelf.ids(now() - timedelta(minutes=1), now()).keys()


def test_many_missed_ticks_are_asked_for_as_one(shelf: Shelf):
    (entry,) = (one for one in entries(Shelves([shelf.package])) if one.job.name == shelf.job)
    stop, back, sent, tried = threading.Event(), threading.Event(), [], set()

    def send(posts):
        tried.update(post.id for post in posts)
        if not back.is_set():
            raise QueueAway("the test says so")
        sent.extend(posts)

    thread = threading.Thread(target=Clock([entry], send).run, args=(stop,))
    thread.start()
    begun = now()
    until(lambda: len(tried) >= 3, what="three ticks were due")
    back.set()
    until(lambda: sent, what="the queue is back")
    stop.set()
    thread.join(20)

    due = shelf.ids(begun - timedelta(seconds=1), now())
    # The last one stands for those before it.
    assert due[sent[0].id] >= max(due[id] for id in tried if id in due) - timedelta(seconds=1)
    assert len(sent) < len(tried)


def test_while_valkey_is_away_the_clock_waits_and_then_sends_what_was_missed_once(
    shelf: Shelf, start_clock: Start, tmp_path: Path, house: TestHouse
):
    engine = Engine(tmp_path)
    engine.start()
    try:
        queues = Queues(open_client(engine.url), prefix=house.settings.key_prefix)

        def waits(id: str) -> bool:
            return queues.find(id)[0] == "queued"

        clock = start_clock(redis_url=engine.url)
        begun = now()
        until(lambda: any(map(waits, shelf.ids(begun, now()))), what="it ticks")
        engine.kill()
        until(lambda: said(tmp_path, "clock.waiting") >= 4, what="it tries again and again")
        assert clock.poll() is None
        away = said(tmp_path, "clock.waiting")
        lost = shelf.ids(now() - timedelta(seconds=2), now() - timedelta(seconds=1))
        assert away
        engine.start()
        back = now()
        until(lambda: any(map(waits, shelf.ids(back + timedelta(seconds=1), now()))), what="it ticks again")
        # Of what was due meanwhile the last one of each schedule is asked for.
        assert sum(map(waits, lost)) <= 1
        assert clock.poll() is None
    finally:
        engine.stop()


def test_a_clock_without_valkey_still_stops_when_told(start_clock: Start, tmp_path: Path):
    clock = start_clock(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    until(lambda: said(tmp_path, "clock.waiting"), what="it waits")

    clock.terminate()

    assert clock.wait(10) == 0
    assert said(tmp_path, "clock.stopped") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clock_stops_when_told(start_clock: Start, tmp_path: Path, number: int):
    clock = start_clock()
    until(lambda: said(tmp_path, "clock.started"), what="it runs")

    clock.send_signal(number)

    assert clock.wait(10) == 0


def test_a_schedule_whose_message_needs_more_is_refused_at_the_start(start_clock: Start, tmp_path: Path):
    other = Shelf(tmp_path, base="AppMessage")

    clock = start_clock(package=other.package)

    assert clock.wait(20) != 0
    told = (tmp_path / "clock.log").read_text()
    assert "the clock cannot start" in told
    assert other.job in told
    assert "default" in told
