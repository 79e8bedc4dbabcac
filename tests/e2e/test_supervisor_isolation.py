"""An isolated job has a process of its own, which may hold on to its interpreter, hang or crash, and be ended."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.e2e.workers_crew import Crew, crew
from tests.house import until

pytestmark = pytest.mark.e2e

SHELF = '''
"""Jobs in processes of their own."""
import ctypes
import os
import re
import signal
import time
from datetime import timedelta
from pathlib import Path

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Invalid
from backroom.domain.job import AppMessage, Message, job
from backroom.tools import Tools

HERE = Path(__file__).parent.parent
SOON = Backoff(first=timedelta(milliseconds=100), longest=timedelta(milliseconds=100))


def say(what: str, n: int) -> None:
    out = os.open(HERE / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, f"{what} {n} {os.getpid()}\\n".encode())
    os.close(out)


class Note(Message, frozen=True, kw_only=True):
    """Say that it ran."""

    n: int


class Alone(AppMessage, frozen=True, kw_only=True):
    """Do what is asked in a process of its own."""

    n: int
    do: str


@job("test.note")
def note(message: Note, tools: Tools) -> None:
    say("noted", message.n)


@job("test.alone", isolated=True, time_limit=timedelta(seconds=4), attempts=2, backoff=SOON)
def alone(message: Alone, tools: Tools) -> dict[str, int] | None:
    say("begun", message.n)
    if message.do == "grab":
        re.match("(a+)+$", "a" * 60 + "b")
    if message.do == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if message.do == "refuse":
        raise Invalid("/n", "is wrong", "another one")
    if message.do == "wait":
        while True:
            tools.breathe()
            time.sleep(0.02)
    if message.do == "tools":
        tools.read.users.one("ada")
        tools.later(Note(n=message.n))
    say("ended", message.n)
    return {"n": message.n}
'''
LONG_SHELF = SHELF.replace("timedelta(seconds=4)", "timedelta(minutes=5)")


def ask(found: Crew, n: int, do: str) -> str:
    (id,) = found.send("alone", n, app=found.house.app.id, do=do)
    return id


def state(found: Crew, id: str) -> str:
    return found.house.queues().find(id)[0]


def descendants(found: Crew) -> set[int]:
    return {child.pid for child in psutil.Process(found.process.pid).children(recursive=True)}


def test_it_works_with_tools_of_its_own_and_its_process_is_kept_for_the_next(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=SHELF) as found:
        ids = [ask(found, 1, "tools"), ask(found, 2, "tools")]

        until(lambda: [state(found, id) for id in ids] == ["done", "done"], what="both are done")
        until(lambda: len(found.runs("noted")) == 2, what="what they handed on has run")

        (own,) = {pid for _, pid in found.runs("ended")}
        assert own not in found.children()
        assert {pid for _, pid in found.runs("noted")} == found.children()


def test_what_holds_on_to_the_interpreter_disturbs_nobody_beside_it(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 2, "--grace", 4, shelf=LONG_SHELF) as found:
        id = ask(found, 1, "grab")
        until(lambda: found.runs("begun"), what="it has begun")

        found.send("note", 2)

        until(lambda: found.runs("noted"), what="another runs beside it")
        assert state(found, id) == "running"
        assert not found.events("child.silent")


def test_what_holds_on_to_the_interpreter_is_ended_at_its_time_limit(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 2, shelf=SHELF) as found:
        id = ask(found, 1, "grab")

        until(lambda: state(found, id) == "dead", what="two tries were cut")

        assert found.counted("begun") == {1: 2}
        assert len({pid for _, pid in found.runs("begun")}) == 2
        assert not found.counted("ended")
        assert not found.events("job.stuck")


def test_what_crashes_is_an_attempt_that_failed(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=SHELF) as found:
        first = until(found.children, what="there is a worker")
        id = ask(found, 1, "die")

        until(lambda: state(found, id) == "dead", what="it has failed twice")

        (letter,) = house.queues().dead()
        assert "SIGSEGV" in letter.reason
        assert letter.attempts == 2
        assert found.children() == first


def test_what_it_raises_comes_back_as_it_is(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=SHELF) as found:
        id = ask(found, 1, "refuse")

        until(lambda: state(found, id) == "dead", what="no second try would help")

        (letter,) = house.queues().dead()
        assert letter.attempts == 1
        assert "/n" in letter.reason
        assert "another one" in letter.reason


def test_it_hears_of_a_stop_and_goes_with_its_worker(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=SHELF) as found:
        id = ask(found, 1, "wait")
        until(lambda: found.runs("begun"), what="it has begun")
        all_of_them = descendants(found)
        assert len(all_of_them) == 2

        os.killpg(found.process.pid, signal.SIGTERM)

        assert found.process.wait(30) == 0
        assert state(found, id) in {"queued", "scheduled", "retrying"}
        assert not house.queues().dead()
        assert not found.events("job.again"), "no attempt was counted"
        assert not any(psutil.pid_exists(pid) for pid in all_of_them)


def test_it_hears_that_it_is_cancelled(house, tmp_path):
    environ = {"LEASE_MS": 3_000}
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=LONG_SHELF, **environ) as found:
        id = ask(found, 1, "wait")
        until(lambda: found.runs("begun"), what="it has begun")

        house.queues().cancel(id)

        until(lambda: state(found, id) == "cancelled", within=60, what="it has stopped")


def test_it_does_not_survive_a_worker_that_is_killed(house, tmp_path):
    with crew(house, tmp_path, "--processes", 1, "--threads", 1, shelf=SHELF) as found:
        ask(found, 1, "grab")
        until(lambda: found.runs("begun"), what="it has begun")
        (own,) = {pid for _, pid in found.runs("begun")}
        (worker,) = found.children()

        os.kill(worker, signal.SIGKILL)

        until(lambda: not psutil.pid_exists(own), what="its process has ended")
