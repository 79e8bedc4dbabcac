"""Runs isolated jobs in processes of their own, while this one keeps their lease and watches the time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from backroom.domain.errors import BackroomError, Permanent
from backroom.settings import Settings
from workers.order import outcome

log = structlog.get_logger()

# In seconds. While a thread waits for its cell, a time limit cannot interrupt it: so it waits in short steps.
LOOK_EVERY = 0.2
# Another one takes a second to start, and as much memory as a worker.
MOST_IDLE = 1


class CellDied(BackroomError):
    """The process of an isolated job ended before the job did."""


class Word(Enum):
    """What a cell is told while it works."""

    STOPPING = "stopping"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One message for a cell.

    Attributes:
        job: Whose.
        id: The message's.
        message: What is asked.
        options: What else its envelope says.
    """

    job: str
    id: str
    message: dict[str, Any]
    options: dict[str, Any]


class Cells(Middleware):
    """The processes of this worker's isolated jobs: started on demand, kept for the next one, ended with the worker.

    Args:
        settings: What a cell furnishes its house with.
        cancelled: Whether somebody wants a message that is being worked on cancelled.
    """

    def __init__(self, settings: Settings, *, cancelled: Callable[[str], bool]) -> None:
        self._settings = settings
        self._cancelled = cancelled
        self._lock = Lock()
        self._idle: list[_Cell] = []
        self._busy: set[_Cell] = set()
        # Linux takes the end of the thread that started a process for its parent's, so that thread has to stay.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="backroom-cells")

    def run(self, envelope: dramatiq.Message[Any]) -> Any:
        """Run a message's job in a cell; what it returns or raises comes back.

        Raises:
            CellDied: Its process ended before it did.
        """
        task = Task(
            job=envelope.actor_name,
            id=envelope.message_id,
            message=envelope.kwargs["message"],
            options=dict(envelope.options),
        )
        cell = self._take()
        try:
            result, error = cell.run(task, self._cancelled)
        except BaseException:
            # The time limit, most of all: what cannot be interrupted can be ended.
            self._drop(cell)
            raise
        self._give_back(cell)
        if error is not None:
            raise error
        return result

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        """Tell the jobs that this worker has been asked to stop."""
        with self._lock:
            for cell in self._busy:
                cell.ask_to_stop()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        """End them all."""
        with self._lock:
            cells = [*self._idle, *self._busy]
        for cell in cells:
            self._drop(cell)
        self._starter.shutdown(wait=False)

    def _take(self) -> _Cell:
        with self._lock:
            cell = self._idle.pop() if self._idle else None
        if cell is None or not cell.lives():
            cell = self._starter.submit(_Cell, self._settings).result()
        with self._lock:
            self._busy.add(cell)
        return cell

    def _give_back(self, cell: _Cell) -> None:
        with self._lock:
            self._busy.discard(cell)
            keep = len(self._idle) < MOST_IDLE
            if keep:
                self._idle.append(cell)
        if not keep:
            cell.end()

    def _drop(self, cell: _Cell) -> None:
        with self._lock:
            self._busy.discard(cell)
            if cell in self._idle:
                self._idle.remove(cell)
        cell.end()


class _Cell:
    def __init__(self, settings: Settings) -> None:
        self._wire, theirs = Pipe()
        number = theirs.fileno()
        self._process = subprocess.Popen(  # noqa: S603 - our own program, and two numbers
            (sys.executable, "-m", "workers.cell", str(number), str(os.getpid())),
            stdin=subprocess.DEVNULL,
            pass_fds=(number,),
            # What is sent to a whole process group is the worker's to hear; it tells us.
            start_new_session=True,
        )
        theirs.close()
        self._sending = Lock()
        self._wire.send(settings)
        log.info("cell.started", pid=self._process.pid)

    def run(self, task: Task, cancelled: Callable[[str], bool]) -> tuple[Any, BaseException | None]:
        try:
            self._send(task)
            told = False
            while not self._wire.poll(LOOK_EVERY):
                if not told and cancelled(task.id):
                    self._send(Word.CANCELLED)
                    told = True
            return receive(self._wire)
        except (EOFError, OSError):
            end = outcome(self._process.wait())
            log.warning("cell.died", pid=self._process.pid, end=end)
            raise CellDied(f"its process ended with {end}") from None

    def lives(self) -> bool:
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        with suppress(OSError):
            self._send(Word.STOPPING)

    def _send(self, what: Task | Word) -> None:
        with self._sending:
            self._wire.send(what)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._wire.close()


def reply(wire: Connection, result: Any, error: BaseException | None) -> None:
    """Send what became of a task; from a cell."""
    parts = None if error is None else (type(error), error.args, vars(error) | {"__notes__": _notes(error)})
    try:
        packed = pickle.dumps((result, parts))
    except Exception as unfit:  # noqa: BLE001 - whatever cannot travel raises what it likes
        # Words always can, and "never again" must not become "again".
        said = unfit if error is None else error
        kind = Permanent if isinstance(error, Permanent) else RuntimeError
        packed = pickle.dumps((None, (kind, (f"{type(said).__name__}: {said}",), {"__notes__": _notes(said)})))
    wire.send_bytes(packed)


def receive(wire: Connection) -> tuple[Any, BaseException | None]:
    """What became of a task."""
    # From a process of ours, over a pipe that nobody else has.
    result, parts = pickle.loads(wire.recv_bytes())  # noqa: S301
    if parts is None:
        return result, None
    kind, args, more = parts
    # Not through its constructor: that may want what its message was made of.
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(more)
    return None, error


def _notes(error: BaseException) -> list[str]:
    trace = "".join(traceback.format_exception(error)).rstrip()
    return [*getattr(error, "__notes__", ()), f"In the process of its own:\n{trace}"]
