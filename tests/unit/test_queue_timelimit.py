"""A time limit that strikes as a job ends."""

from __future__ import annotations

import sys
import threading
import time

from backroom.queue.timelimit import SafeTimeLimit


def test_a_limit_that_strikes_as_the_job_ends_reaches_nobody():
    manager = SafeTimeLimit().manager
    ready, go, survived = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        manager.add_timeout(threading.get_ident(), 0)
        ready.set()
        go.wait()
        manager.remove_timeout(threading.get_ident())
        survived.set()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    ready.wait()
    with manager.mu:
        go.set()
        deadline = time.monotonic() + 10
        while sys._current_frames()[worker.ident].f_code.co_name != "remove_timeout":
            assert time.monotonic() < deadline
        manager._handle_deadlines()
    worker.join(10)

    assert survived.is_set()
