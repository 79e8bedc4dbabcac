"""A worker process for the queue's tests, to be killed. Each run of a job is one line in a file: id, process, note.

Usage: python queue_worker.py URL LEASE_MS FOLDER THREADS
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import dramatiq

from backroom.domain.limits import Limit
from backroom.queue.broker import ValkeyBroker


def main(url: str, lease_ms: str, folder: str, threads: str) -> None:
    out = os.open(Path(folder) / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    broker = ValkeyBroker(url, prefix="br", lease=timedelta(milliseconds=int(lease_ms)))

    def ran(id: str, note: str = "") -> None:
        os.write(out, f"{id} {os.getpid()} {note}\n".encode())

    def note(message: dict[str, object]) -> None:
        ran(str(message["n"]))

    def hang(message: dict[str, object]) -> None:
        ran(str(message["n"]), "begun")
        # Only the first process hangs; the one that takes over finds the file.
        if not (Path(folder) / "go").exists():
            threading.Event().wait()
        ran(str(message["n"]), "ended")

    def die(message: dict[str, object]) -> None:
        ran(str(message["n"]))
        os.kill(os.getpid(), signal.SIGKILL)

    def lane(messages: list[dramatiq.Message]) -> None:
        for message in messages:
            ran(str(message.kwargs["message"]["n"]), f"{time.monotonic_ns()}")
            time.sleep(0.0005)

    dramatiq.actor(note, broker=broker, actor_name="note", queue_name="work")
    dramatiq.actor(hang, broker=broker, actor_name="hang", queue_name="work")
    few = Limit(name="few", concurrent=4)
    dramatiq.actor(hang, broker=broker, actor_name="few", queue_name="work", limits=[few])
    dramatiq.actor(die, broker=broker, actor_name="die", queue_name="work")
    dramatiq.actor(lane, broker=broker, actor_name="lane", queue_name="lane", batch=25, linger_ms=5, ordered=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Before the start, for a job may kill the process at once.
    (Path(folder) / f"up.{os.getpid()}").touch()
    worker = dramatiq.Worker(broker, worker_threads=int(threads), worker_timeout=100)
    worker.start()
    stop.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
