"""A worker that was thought dead begins nothing of what it had fetched, however busy it is."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import dramatiq

from backroom.queue.broker import ValkeyBroker
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import actor, post, running, until


def test_a_worker_with_full_hands_does_not_begin_what_others_took_from_it(tmp_path: Path):
    ran: Counter[str] = Counter()
    go = threading.Event()

    def work(message: dict) -> None:
        ran[message["n"]] += 1
        if message["n"] == "first":
            go.wait(20)

    with running(tmp_path) as engine, open_client(engine.url) as client:
        sender, queues, leave = (
            Sender(client, prefix="br"),
            Queues(client, prefix="br"),
            Script(client, "leave", prefix="br"),
        )
        fetch, settle = (Script(client, name, prefix="br") for name in ("fetch", "settle"))
        broker = ValkeyBroker(engine.url, prefix="br", lease=timedelta(seconds=1))
        actor("note", work)(broker)
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        # As much as it holds: it does not fetch, and so does not look, before it has done something.
        worker.queue_prefetch = 3
        sender.send([post("note", n, id=n) for n in ("first", "second", "third")])
        worker.start()
        until(lambda: ran["first"] and queues.depths()["work"].inflight == 3)
        queues.rule("work", intake="paused")
        name = queues.workers()[0].name
        # Somebody else takes what it holds, as after a lease has ended; then it is heard of again.
        leave(name)
        until(lambda: [one.name for one in queues.workers()] == [name])
        queues.rule("work", intake="open")
        for _, _, id, token, _, _ in zip(
            *[iter(fetch("heir", 60_000, 3, 0, 0, 1, "work", 0, 0, 0)[HEADER:])] * 6, strict=True
        ):
            settle("heir", 1, "done", id, token, 60_000, "", "", 0)
        assert queues.find("third")[0] == "done"

        go.set()
        sender.send([post("note", "last")])
        until(lambda: ran["last"])
        worker.stop()
        broker.close()

    assert ran == {"first": 1, "last": 1}
