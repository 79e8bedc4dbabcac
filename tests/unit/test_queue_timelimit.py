"""A time limit that strikes as a job ends."""

from __future__ import annotations

import sys
import threading
import time

from dramatiq.middleware import TimeLimitExceeded

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


def test_a_strike_that_python_has_dropped_is_followed_by_another(monkeypatch):
    monkeypatch.setattr("backroom.queue.timelimit.STRIKE_AGAIN", 0.0)
    manager = SafeTimeLimit().manager
    ready, cut = threading.Event(), []

    def work() -> None:
        manager.add_timeout(threading.get_ident(), 0)
        ready.set()
        while len(cut) < 2:
            try:
                while True:
                    time.sleep(0.001)
            except TimeLimitExceeded:
                # As a finaliser does that the exception happens to strike.
                cut.append(1)
        manager.remove_timeout(threading.get_ident())

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    ready.wait(10)
    deadline = time.monotonic() + 20
    while worker.is_alive() and time.monotonic() < deadline:
        manager._handle_deadlines()
        time.sleep(0.05)

    assert len(cut) >= 2
    assert not worker.is_alive()
