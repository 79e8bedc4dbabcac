"""What a worker's threads wait on."""

from __future__ import annotations

import threading
from queue import Empty
from types import SimpleNamespace

import pytest

from backroom.queue.handout import Handout

PRIORITIES = {"urgent": -1, "usual": 0, "bulk": 5}


def handout(threads: int = 4) -> Handout:
    actors = {name: SimpleNamespace(priority=priority) for name, priority in PRIORITIES.items()}
    return Handout(SimpleNamespace(worker_threads=threads, consumers={}, broker=SimpleNamespace(actors=actors)))


def delivery(actor: str, number: int = 0) -> SimpleNamespace:
    return SimpleNamespace(actor_name=actor, number=number)


def test_deliveries_come_in_their_order_and_nudges_are_no_deliveries():
    waiting, one, two = handout(), delivery("usual"), delivery("nobody knows it")
    waiting.put(one)
    waiting.nudge()
    waiting.put(two)

    assert waiting.get(timeout=1).message is one
    with pytest.raises(Empty):
        waiting.get(timeout=1)
    assert waiting.get_nowait().message is two
    with pytest.raises(Empty):
        waiting.get_nowait()


def test_the_lower_the_priority_the_sooner_and_in_their_order_where_it_is_the_same():
    waiting = handout()
    for number, actor in enumerate(["usual", "bulk", "urgent", "usual", "bulk", "urgent"]):
        waiting.put(delivery(actor, number))

    assert [waiting.get_nowait().message.number for _ in range(6)] == [2, 5, 0, 3, 1, 4]
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
