"""Who saw a worker end may say so, and what it held goes on at once; nobody else's does."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, actor, post, until, working


@pytest.mark.parametrize("counted", [True, False])
def test_only_the_worker_of_that_name_is_taken_for_dead(engine: Engine, *, counted: bool) -> None:
    go = threading.Event()
    hold = actor("hold", lambda message: go.wait(30))
    options = {"threads": 1, "lease": timedelta(minutes=1)}
    with (
        open_client(engine.url) as client,
        working(engine, hold, worker_name="crew.1", **options),
        working(engine, hold, worker_name="crew.10", **options),
    ):
        queues = Queues(client, prefix="br")
        sender = Sender(client, prefix="br")
        held = {}
        while len(held) < 2:
            sender.send([post("hold")])
            held = {worker.name: worker.holds for worker in queues.workers() if worker.holds}
        until(lambda: not queues.depths()["work"].ready or len(held) == 2)
        before = {worker.name.rpartition(".")[0]: worker.holds for worker in queues.workers()}

        back, poison = queues.declare_dead("crew.1", counted=counted)

        left = {worker.name.rpartition(".")[0] for worker in queues.workers()}
        deliveries = client.hlen("{br}:deliveries")
        go.set()
        assert poison == 0
        assert back >= before["crew.1"]
        assert "crew.10" in left
        assert (deliveries > 0) is counted
        assert queues.declare_dead("crew.2", counted=True) == (0, 0)
