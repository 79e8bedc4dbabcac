"""`python -m workers` over a test's house, with a shelf of jobs that write down what becomes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from backroom.queue.open import open_client
from backroom.queue.sender import Sender
from backroom.queue.wire import Post
from tests.house import SECRET, TestHouse, until

HOME = Path(__file__).parent.parent.parent
# So long that only the supervisor can be the reason when something comes back sooner.
LONG_LEASE_MS = 60_000
SHELF = '''
"""Jobs that write down what becomes of them: what, which, in which process."""
import os
import re
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

from backroom.domain.job import Message, job
from backroom.tools import Tools

HERE = Path(__file__).parent.parent
kept = []


def say(what: str, n: int) -> None:
    out = os.open(HERE / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, f"{what} {n} {os.getpid()}\\n".encode())
    os.close(out)


class Note(Message, frozen=True, kw_only=True):
    """Say that it ran."""

    n: int


class Hold(Message, frozen=True, kw_only=True):
    """Run until allowed to end."""

    n: int


class Die(Message, frozen=True, kw_only=True):
    """Take the process along."""

    n: int


class Hang(Message, frozen=True, kw_only=True):
    """Wait where nothing can interrupt."""

    n: int


class Grab(Message, frozen=True, kw_only=True):
    """Keep the interpreter to itself."""

    n: int


class Grow(Message, frozen=True, kw_only=True):
    """Keep much memory."""

    n: int


@job("test.note")
def note(message: Note, tools: Tools) -> None:
    say("NOTED", message.n)


@job("test.hold", time_limit=timedelta(minutes=5))
def hold(message: Hold, tools: Tools) -> None:
    say("begun", message.n)
    while not (HERE / "go").exists():
        time.sleep(0.02)
    say("ended", message.n)


@job("test.die")
def die(message: Die, tools: Tools) -> None:
    say("begun", message.n)
    os.kill(os.getpid(), signal.SIGKILL)


@job("test.hang", time_limit=timedelta(seconds=1))
def hang(message: Hang, tools: Tools) -> None:
    say("begun", message.n)
    if not (HERE / "go").exists():
        threading.Event().wait()
    say("ended", message.n)


@job("test.grab", time_limit=timedelta(seconds=1))
def grab(message: Grab, tools: Tools) -> None:
    say("begun", message.n)
    if not (HERE / "go").exists():
        re.match("(a+)+$", "a" * 60 + "b")
    say("ended", message.n)


@job("test.grow")
def grow(message: Grow, tools: Tools) -> None:
    kept.append(b"x" * (300 * 1024 * 1024))
    say("ended", message.n)
'''


def alive(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Crew:
    """A supervisor, and what its processes have written."""

    house: TestHouse
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def shelf(self) -> Path:
        return self.folder / "shelf_of_tests" / "jobs" / "tests.py"

    def send(self, job: str, *numbers: int, **more: str) -> list[str]:
        ids = [str(uuid.uuid4()) for _ in numbers]
        posts = [
            Post(job=f"test.{job}", queue="default", message={"n": n, **more}, id=id)
            for n, id in zip(numbers, ids, strict=True)
        ]
        with open_client(self.house.settings.redis_url) as client:
            Sender(client, prefix=self.house.settings.key_prefix).send(posts)
        return ids

    def go(self) -> None:
        """Allow to end what waits for it."""
        (self.shelf.parent.parent / "go").touch()

    def runs(self, what: str) -> list[tuple[int, int]]:
        """Which, and in which process, in the order of time."""
        try:
            lines = (self.shelf.parent.parent / "runs").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(int(n), int(pid)) for said, n, pid in map(str.split, lines) if said == what]

    def counted(self, what: str) -> Counter[int]:
        return Counter(n for n, _ in self.runs(what))

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and f'"event": "{name}"' in line]

    def children(self) -> set[int]:
        """The worker processes that are alive; none when the supervisor has ended."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return set()
        return {child.pid for child in children if alive(child.pid)}

    def all_new(self, first: set[int]) -> bool:
        """Whether every one of these has been replaced."""
        children = self.children()
        return bool(children) and not children & first

    def working(self) -> int:
        """How many have a lease, and have reported for work."""
        return len(self.house.queues().workers())

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@contextmanager
def crew(house: TestHouse, folder: Path, *options: object, shelf: str = SHELF, **environ: object) -> Iterator[Crew]:
    """A supervisor with these options, and nothing of it afterwards."""
    jobs = folder / "shelf_of_tests" / "jobs"
    jobs.mkdir(parents=True)
    for package in (jobs.parent, jobs):
        (package / "__init__.py").touch()
    (jobs / "tests.py").write_text(shelf, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{HOME}",
        "REDIS_URL": house.settings.redis_url,
        "DATABASE_URL": house.settings.database_url,
        "KEY_PREFIX": house.settings.key_prefix,
        "BACKROOM_SECRET": SECRET,
        "BACKROOM_SHELVES": "shelf_of_tests",
        "LOG_FORMAT": "json",
        "LEASE_MS": str(LONG_LEASE_MS),
        **{name: str(value) for name, value in environ.items()},
    }
    command = [sys.executable, "-m", "workers", *map(str, options)]
    with (folder / "log").open("wb") as log:
        # In a folder of its own, so that no `.env` is read.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    found = Crew(house=house, folder=folder, process=process)
    try:
        yield found
    finally:
        if process.poll() is None:
            # Its children are in its group.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        until(lambda: not found.children(), what="nobody is left")
