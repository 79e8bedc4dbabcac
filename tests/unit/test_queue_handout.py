"""What a worker's threads wait on."""

from __future__ import annotations

import threading
from queue import Empty
from types import SimpleNamespace

import pytest

from backroom.queue.handout import Handout


def handout(threads: int = 4) -> Handout:
    return Handout(SimpleNamespace(worker_threads=threads, consumers={}))


def test_deliveries_come_in_their_order_and_nudges_are_no_deliveries():
    waiting = handout()
    waiting.put("one")
    waiting.nudge()
    waiting.put("two")

    assert waiting.get(timeout=1).message == "one"
    with pytest.raises(Empty):
        waiting.get(timeout=1)
    assert waiting.get_nowait().message == "two"
    with pytest.raises(Empty):
        waiting.get_nowait()


def test_threads_that_wait_for_ever_are_let_go_when_it_stops():
    waiting, ended = handout(threads=8), threading.Semaphore(0)

    def wait() -> None:
        with pytest.raises(Empty):
            # As one whose time-out was forgotten.
            waiting.get(timeout=None)
        ended.release()

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    waiting.stop()

    assert all(ended.acquire(timeout=20) for _ in threads)
    with pytest.raises(Empty):
        waiting.get(timeout=None)
