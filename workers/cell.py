"""One process for isolated jobs: runs one after another for the worker that started it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import dramatiq

from backroom import connect
from backroom.logs import configure
from backroom.settings import Settings
from backroom.shelf import Shelves
from workers.bind import run_one
from workers.isolation import Task, Word, reply
from workers.room import furnish
from workers.tie import end_with


def main(argv: list[str]) -> None:
    """Serve the worker at the other end of the pipe, until it closes that."""
    # The worker says when to stop, and ends us when its patience is over.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pipe, worker = (int(word) for word in argv[1:])
    os.set_inheritable(pipe, False)  # noqa: FBT003 - the system's signature
    # Nobody would want the outcome any more, and the job may be of a kind that listens to nothing else.
    end_with(worker, by=signal.SIGKILL)
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or 2, all_threads=True)
    wire = Connection(pipe)
    try:
        settings = wire.recv()
    except EOFError:
        return
    _serve(wire, settings)


def _serve(wire: Connection, settings: Settings) -> None:
    configure(settings, door="worker")
    shelves = Shelves(settings.shelves)
    tasks: SimpleQueue[Task] = SimpleQueue()
    stopping, cancelled = threading.Event(), threading.Event()
    house = furnish(
        settings,
        shelves,
        connect.valkey(settings),
        connect.engine(settings, door="backroom_worker", connections=None),
        stopping=stopping,
        cancelled=lambda _: cancelled.is_set(),
    )
    ears = threading.Thread(target=_listen, args=(wire, tasks, stopping, cancelled), name="backroom-wire", daemon=True)
    ears.start()
    while True:
        task = tasks.get()
        envelope: dramatiq.Message[Any] = dramatiq.Message(
            queue_name="",
            actor_name=task.job,
            args=(),
            kwargs={"message": task.message},
            options=task.options,
            message_id=task.id,
        )
        try:
            result, error = run_one(shelves.jobs[task.job], house, envelope), None
        except BaseException as raised:  # noqa: BLE001 - whatever it is, the worker decides what follows
            result, error = None, raised
        reply(wire, result, error)


def _listen(wire: Connection, tasks: SimpleQueue[Task], stopping: threading.Event, cancelled: threading.Event) -> None:
    while True:
        try:
            told = wire.recv()
        except (EOFError, OSError):
            os._exit(0)
        if told is Word.STOPPING:
            stopping.set()
        elif told is Word.CANCELLED:
            cancelled.set()
        else:
            cancelled.clear()
            tasks.put(told)


if __name__ == "__main__":
    main(sys.argv)
