"""A worker process of either side, to be killed. Each run of a job is one line in a file: word, process, note.

Usage: python queue_sides_worker.py SIDE URL PATIENCE_MS FOLDER THREADS
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware

from tests.integration.queue_sides import NO_LOTTERY, OURS, STOCK, counting, declared


class DieOnce(Middleware):
    """The first process that is through with a member of a group dies before anybody is told."""

    def __init__(self, folder: Path) -> None:
        self._died = folder / "died"

    def after_process_message(self, _broker: object, message: Any, **_outcome: object) -> None:
        if message.actor_name == "member" and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main(side: str, url: str, patience_ms: str, folder: str, threads: str) -> None:
    out = os.open(Path(folder) / "runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    broker = (
        OURS.broker(url, lease=timedelta(milliseconds=int(patience_ms)))
        if side == OURS.name
        else STOCK.broker(url, heartbeat_timeout=int(patience_ms), **NO_LOTTERY)
        if patience_ms != "0"
        # As it comes.
        else STOCK.broker(url)
    )

    def ran(word: str, note: str = "") -> None:
        os.write(out, f"{word} {os.getpid()} {note}\n".encode())

    def hang(word: str) -> None:
        ran(word, "begun")
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        ran(word, "ended")

    def die(word: str) -> None:
        ran(word)
        os.kill(os.getpid(), signal.SIGKILL)

    # Hooks after a message run from the end: a member is counted first.
    broker.add_middleware(DieOnce(Path(folder)))
    broker.add_middleware(counting(url))
    declared(broker, "note", ran)
    declared(broker, "member", ran)
    declared(broker, "hang", hang)
    declared(broker, "die", die)
    # Before the start, for a job may kill the process at once.
    (Path(folder) / f"up.{os.getpid()}").touch()
    worker = dramatiq.Worker(broker, worker_threads=int(threads), worker_timeout=100)
    # So that both hold more than they work on.
    worker.queue_prefetch = 3
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
