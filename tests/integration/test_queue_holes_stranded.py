"""What Dramatiq's own broker strands while its worker lives, ours does, under the same fault."""

from __future__ import annotations

import threading
from datetime import timedelta

import dramatiq
import pytest
import redis

from backroom.queue.open import Script
from tests.integration.queue_engine import Engine, until
from tests.integration.queue_sides import (
    NO_LOTTERY,
    OURS,
    STOCK,
    Side,
    at_work,
    declared,
    message,
    send,
    sending,
    watch,
)
from tests.integration.queue_wire import Wire

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=1500)


@pytest.fixture(autouse=True)
def _quick_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock waits seconds after an error; it may be quick here."""
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.1)
    monkeypatch.setattr("dramatiq.worker.POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.1)


def delays_in_memory(worker: dramatiq.Worker) -> int:
    """How many delayed messages a stock worker holds; ours holds none."""
    consumer = worker.consumers.get("default.DQ")
    return consumer.delay_queue.qsize() if consumer else 0


# -- S1: the engine is restarted while messages wait for their time


def wait_over_a_restart(side: Side, engine: Engine) -> list[str]:
    """What has run when one that is due later than the others, and was sent after the restart, has run."""
    ran: list[str] = []
    with (
        at_work(side.broker(engine.url), lambda broker: declared(broker, "work", ran.append)) as worker,
        sending(side, engine) as sender,
    ):
        for n in range(10):
            send(sender, "work", str(n), delay=SOON)
        if side is STOCK:
            until(lambda: delays_in_memory(worker) == 10)
        engine.kill()
        engine.start()
        if side is STOCK:
            until(lambda: not delays_in_memory(worker))
        send(sender, "work", "last", delay=2 * SOON)
        until(lambda: "last" in ran)
        return ran


def test_stock_strands_every_delayed_message_at_a_restart_of_the_engine(engine: Engine):
    assert wait_over_a_restart(STOCK, engine) == ["last"]
    assert STOCK.taken(engine) == STOCK.bodies(engine) == 10


def test_ours_runs_every_delayed_message_after_a_restart_of_the_engine(engine: Engine):
    ran = wait_over_a_restart(OURS, engine)

    assert sorted(ran) == sorted([*map(str, range(10)), "last"])
    assert ran[-1] == "last"


# -- S2: the engine is away at the moment when a delayed message is due


def fall_due_without_engine(side: Side, engine: Engine) -> tuple[list[str], bool]:
    """What ran, and whether a delayed message that is sent afterwards runs, too.

    Stock meets an error on its way to put a due message on the queue, not at its next fetch, where it holds as many
    delayed messages as it may.
    """
    ran: list[str] = []
    with (
        at_work(
            side.broker(engine.url), lambda broker: declared(broker, "work", ran.append), delay_prefetch=5
        ) as worker,
        sending(side, engine) as sender,
    ):
        for n in range(5):
            send(sender, "work", str(n), delay=SOON)
        consumer = worker.consumers.get("default.DQ")
        if consumer:
            until(lambda: delays_in_memory(worker) == 5)
        engine.kill()
        watch(lambda: not ran, stays=SOON)
        if consumer:
            until(lambda: not consumer.is_alive())
        engine.start()
        send(sender, "work", "delayed", delay=timedelta(milliseconds=100))
        if consumer:
            # Nobody will ever look at it: see that it stays so for a while.
            watch(lambda: "delayed" not in ran, stays=timedelta(seconds=1))
        else:
            until(lambda: len(ran) == 6)
        send(sender, "work", "prompt")
        until(lambda: "prompt" in ran)
        return ran, consumer is None or consumer.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_stock_is_deaf_to_delays_after_the_engine_was_away_when_one_was_due(engine: Engine):
    assert fall_due_without_engine(STOCK, engine) == (["prompt"], False)


def test_ours_runs_what_was_due_while_the_engine_was_away(engine: Engine):
    ran, alive = fall_due_without_engine(OURS, engine)

    assert alive
    assert sorted(ran) == ["0", "1", "2", "3", "4", "delayed", "prompt"]


# -- S3: the answer to a fetch is lost


def fetch_unheard(side: Side, engine: Engine) -> list[str]:
    ran: list[str] = []
    wire = Wire(engine)
    with sending(side, engine) as sender:
        for n in range(20):
            send(sender, "work", f"treasure{n}")
        wire.lose = b"treasure"
        with at_work(side.broker(wire.url), lambda broker: declared(broker, "work", ran.append)):
            assert wire.lost.wait(10)
            if side is OURS:
                until(lambda: len(ran) == 20)
            send(sender, "work", "last")
            until(lambda: "last" in ran)
            until(lambda: side.taken(engine) == side.bodies(engine))
            taken = side.taken(engine)
    wire.close()
    assert taken == 21 - len(ran)
    return ran


def test_stock_strands_what_it_fetched_when_the_answer_is_lost(engine: Engine):
    assert len(fetch_unheard(STOCK, engine)) < 21


def test_ours_adopts_what_it_fetched_when_the_answer_is_lost(engine: Engine):
    assert sorted(fetch_unheard(OURS, engine)) == sorted([*(f"treasure{n}" for n in range(20)), "last"])


# -- S4: one message in a fetch cannot be decoded


def put_nonsense(side: Side, sender: dramatiq.Broker, body: bytes) -> None:
    """What a sender of another kind, or of another version, might put on a queue."""
    if side is STOCK:
        sender.do_enqueue("default", "nonsense", body)
    else:
        Script(sender.client, "send", prefix="br")(1, 0, 1, 1, "nonsense", "default", "2", body, 0, b"")


def fetch_nonsense(side: Side, engine: Engine) -> list[str]:
    ran: list[str] = []
    with sending(side, engine) as sender:
        put_nonsense(side, sender, b"\x80\x04nonsense")
        for n in range(10):
            send(sender, "work", str(n))
        with at_work(side.broker(engine.url), lambda broker: declared(broker, "work", ran.append), threads=8):
            # Taken, or already done: what comes later is not in the same hands.
            until(lambda: len(ran) + side.taken(engine) >= 10)
            if side is OURS:
                until(lambda: len(ran) == 10)
            send(sender, "work", "last")
            until(lambda: "last" in ran)
    return ran


def test_stock_strands_the_neighbours_of_a_message_that_cannot_be_decoded(engine: Engine):
    assert fetch_nonsense(STOCK, engine) == ["last"]
    assert (STOCK.dead(engine), STOCK.bodies(engine)) == (0, 11)


def test_ours_buries_a_message_that_cannot_be_decoded_alone(engine: Engine):
    assert sorted(fetch_nonsense(OURS, engine)) == sorted([*map(str, range(10)), "last"])
    assert (OURS.dead(engine), OURS.bodies(engine)) == (1, 1)


# -- S5: the engine refuses the acknowledgement, as one does that has become a replica


def acknowledge_to_a_replica(side: Side, engine: Engine) -> list[str]:
    """What ran, a restart of the worker included."""
    ran: list[str] = []
    refused = threading.Event()

    def work(word: str) -> None:
        ran.append(word)
        if word == "job" and not refused.is_set():
            refused.set()
            with engine.client() as client:
                # Of nobody: it keeps what it has.
                client.replicaof("127.0.0.1", "1")

    def jobs(broker: dramatiq.Broker) -> None:
        declared(broker, "work", work)

    first, heir = {}, {}
    if side is STOCK:
        first, heir = {"heartbeat_timeout": 300}, {"heartbeat_timeout": 300, **NO_LOTTERY}
    with sending(side, engine) as sender:
        send(sender, "work", "job")
        with at_work(side.broker(engine.url, **first), jobs):
            assert refused.wait(20)
            with engine.client() as client:
                # It has been refused once, at least.
                until(lambda: refusals(client) > 0)
                client.replicaof("NO", "ONE")
            send(sender, "work", "between")
            until(lambda: "between" in ran)
            if side is OURS:
                until(lambda: not side.bodies(engine))
        with at_work(side.broker(engine.url, **heir), jobs):
            send(sender, "work", "last")
            until(lambda: "last" in ran)
            until(lambda: not side.bodies(engine))
    return ran


def refusals(client: redis.Redis) -> int:
    """How often an engine said that it is a replica."""
    return client.info("errorstats").get("errorstat_READONLY", {"count": 0})["count"]


def test_stock_runs_a_job_again_whose_acknowledgement_was_refused(engine: Engine):
    assert acknowledge_to_a_replica(STOCK, engine).count("job") == 2


def test_ours_repeats_an_acknowledgement_that_was_refused(engine: Engine):
    assert acknowledge_to_a_replica(OURS, engine) == ["job", "between", "last"]


# -- Many messages that are due in an hour, and one that is due at once


def wait_behind_the_far_future(side: Side, engine: Engine) -> list[str]:
    """What has run when one that was not delayed at all has: it is sent when the delayed one was due long ago."""
    ran: list[str] = []
    with sending(side, engine) as sender:
        for n in range(1_100):
            sender.enqueue(message("work", str(n)), delay=3_600_000)
        send(sender, "work", "soon", delay=timedelta(milliseconds=500))
        with at_work(side.broker(engine.url), lambda broker: declared(broker, "work", ran.append), threads=1) as worker:
            if side is STOCK:
                until(lambda: delays_in_memory(worker) == 1_000)
                watch(lambda: not ran, stays=2 * SOON)
            else:
                until(lambda: ran)
            send(sender, "work", "last")
            until(lambda: "last" in ran)
            sender.flush("default")
            if side is STOCK:
                # It would carry them back to its queue one by one.
                worker.consumers["default.DQ"].delay_queue.queue.clear()
    return ran


def test_stock_never_comes_to_a_delayed_message_behind_a_thousand_of_the_far_future(engine: Engine):
    assert wait_behind_the_far_future(STOCK, engine) == ["last"]


def test_ours_runs_a_delayed_message_in_time_whatever_is_due_later(engine: Engine):
    assert wait_behind_the_far_future(OURS, engine) == ["soon", "last"]
