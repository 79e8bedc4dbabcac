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

import dramatiq

from tests.integration.queue_sides import NO_LOTTERY, OURS, STOCK, declared


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

    declared(broker, "note", ran)
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
