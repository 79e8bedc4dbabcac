"""What Dramatiq's own broker loses and doubles, ours keeps and does once, under the same fault."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Pipelines

from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from tests.integration.queue_engine import Engine, until
from tests.integration.queue_sides import (
    HOME,
    OURS,
    STOCK,
    Side,
    at_work,
    declared,
    message,
    send,
    sending,
)
from tests.integration.queue_wire import Wire


@pytest.fixture(autouse=True)
def _quick_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock waits seconds after an error; it may be quick here."""
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.1)
    monkeypatch.setattr("dramatiq.worker.POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.1)


# -- L1: a job fails, and the engine is away while its retry is written


def fail_without_engine(side: Side, engine: Engine) -> list[str]:
    tries: list[str] = []

    def work(word: str) -> None:
        tries.append(word)
        if len(tries) == 1:
            engine.kill()
            raise RuntimeError("once")

    with at_work(side.broker(engine.url), lambda broker: declared(broker, "work", work, **side.soon)):
        with sending(side, engine) as sender:
            send(sender, "work", "job")
        until(lambda: tries)
        engine.start()
        # It is done, or nothing is left that could be done.
        until(lambda: not side.bodies(engine))
    return tries


def test_stock_loses_a_job_that_fails_while_the_engine_is_away(engine: Engine):
    assert fail_without_engine(STOCK, engine) == ["job"]


def test_ours_tries_a_job_again_that_fails_while_the_engine_is_away(engine: Engine):
    assert fail_without_engine(OURS, engine) == ["job", "job"]


# -- L2: a step of a pipeline ends, and the engine is away while the next one is written


def end_step_without_engine(side: Side, engine: Engine) -> list[str]:
    ran: list[str] = []

    def first() -> str:
        ran.append("first")
        engine.kill()
        return "passed on"

    def jobs(broker: dramatiq.Broker) -> None:
        if not any(isinstance(one, Pipelines) for one in broker.middleware):
            broker.add_middleware(Pipelines())
        declared(broker, "first", first)
        declared(broker, "second", ran.append)

    with at_work(side.broker(engine.url), jobs):
        with sending(side, engine) as sender:
            dramatiq.pipeline([message("first"), message("second")], broker=sender).run()
        until(lambda: ran)
        engine.start()
        until(lambda: not side.bodies(engine))
    return ran


def test_stock_loses_the_rest_of_a_pipeline_when_the_engine_is_away(engine: Engine):
    assert end_step_without_engine(STOCK, engine) == ["first"]


def test_ours_goes_on_with_a_pipeline_when_the_engine_is_back(engine: Engine):
    assert end_step_without_engine(OURS, engine) == ["first", "passed on"]


# -- D1: the answer to an enqueue is lost, and the client repeats it


def enqueue_unheard(side: Side, engine: Engine) -> int:
    ran: list[str] = []
    wire = Wire(engine)
    # Stock repeats commands where it is given a host, and not where it is given a URL.
    sender = RedisBroker(host="127.0.0.1", port=wire.port) if side is STOCK else side.broker(wire.url)
    # From now on the engine knows the script.
    send(sender, "work", "first")
    wire.lose = b"treasure"
    send(sender, "work", "treasure")
    assert wire.lost.wait(10)
    sender.close()
    wire.close()
    with at_work(side.broker(engine.url), lambda broker: declared(broker, "work", ran.append)):
        with sending(side, engine) as last:
            send(last, "work", "last")
        until(lambda: not side.bodies(engine))
    return ran.count("treasure")


def test_stock_runs_a_job_twice_whose_enqueue_was_answered_into_the_void(engine: Engine):
    assert enqueue_unheard(STOCK, engine) == 2


def test_ours_runs_a_job_once_whose_enqueue_was_answered_into_the_void(engine: Engine):
    assert enqueue_unheard(OURS, engine) == 1


# -- D2: the clock of a machine is 90 s fast

FAST = """
import sys, time

now, now_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: now() + 90, lambda: now_ns() + 90_000_000_000

from tests.integration.queue_sides import NO_LOTTERY, OURS, STOCK, send

broker = STOCK.broker(sys.argv[2], **NO_LOTTERY) if sys.argv[1] == "stock" else OURS.broker(sys.argv[2])
send(broker, "work", "late")
"""


def send_from_a_fast_clock(side: Side, engine: Engine, folder: Path) -> Counter[str]:
    """A job runs while a machine with a fast clock sends another one, and wins stock's lottery."""
    ran: Counter[str] = Counter()
    go = threading.Event()

    def work(word: str) -> None:
        ran[word] += 1
        if word == "long":
            go.wait(30)

    program = folder / "fast.py"
    program.write_text(FAST)
    with at_work(side.broker(engine.url), lambda broker: declared(broker, "work", work)):
        with sending(side, engine) as sender:
            send(sender, "work", "long")
            until(lambda: ran["long"])
            subprocess.run([sys.executable, program, side.name, engine.url], check=True, env={"PYTHONPATH": str(HOME)})
            until(lambda: ran["late"] or ran["long"] > 1)
            go.set()
            send(sender, "work", "last")
        until(lambda: ran["last"])
        until(lambda: not side.taken(engine))
    return ran


def test_stock_takes_a_running_job_for_lost_by_a_senders_fast_clock(engine: Engine, tmp_path: Path):
    assert send_from_a_fast_clock(STOCK, engine, tmp_path)["long"] == 2


def test_ours_goes_by_the_engines_clock(engine: Engine, tmp_path: Path):
    assert send_from_a_fast_clock(OURS, engine, tmp_path) == {"long": 1, "late": 1, "last": 1}


# -- D4: a message for a job that only the next release knows


def test_stock_buries_a_job_that_it_does_not_know_yet(engine: Engine):
    ran: list[str] = []
    with sending(STOCK, engine) as sender:
        send(sender, "new", "job")
    with at_work(STOCK.broker(engine.url), lambda broker: declared(broker, "old", ran.append)):
        until(lambda: STOCK.dead(engine) == 1)
    with (
        at_work(STOCK.broker(engine.url), lambda broker: declared(broker, "new", ran.append)),
        sending(STOCK, engine) as sender,
    ):
        send(sender, "new", "later")
        until(lambda: ran)

    assert ran == ["later"]
    assert STOCK.dead(engine) == 1


def test_ours_keeps_a_job_for_who_will_know_it(engine: Engine):
    ran: list[str] = []
    with sending(OURS, engine) as sender:
        sender.enqueue(message("new", "job", id="m1"))
    with open_client(engine.url) as client:
        queues = Queues(client, prefix="br")
        with at_work(OURS.broker(engine.url), lambda broker: declared(broker, "old", ran.append)):
            until(lambda: queues.find("m1")[0] == "scheduled")
        # Half a minute later.
        client.zadd("{br}:delayed:default", {"2|m1": 0})
        with at_work(OURS.broker(engine.url), lambda broker: declared(broker, "new", ran.append)):
            until(lambda: ran)

    assert ran == ["job"]
    assert OURS.dead(engine) == 0


# -- K1: a time limit strikes while the job ends by itself


def strike_at_the_end(side: Side, engine: Engine) -> tuple[bool, list[str]]:
    """Whether the only thread of a worker lives on, and what ran: both limits strike when the job has just failed."""
    ran: list[str] = []
    ready, go = threading.Event(), threading.Event()

    def work(word: str) -> None:
        ran.append(word)
        if word == "first":
            ready.set()
            go.wait(20)
            raise RuntimeError("just now")

    broker = side.broker(engine.url)
    once = {"max_retries": 0} if side is STOCK else {"attempts": 1}
    manager: Any = next(one.manager for one in broker.middleware if isinstance(one, dramatiq.middleware.TimeLimit))
    with at_work(broker, lambda broker: declared(broker, "work", work, time_limit=1, **once), threads=1) as worker:
        thread = worker.workers[0]
        # Nobody but us looks at the limits.
        manager.interval = 3600
        with sending(side, engine) as sender:
            with manager.mu:
                send(sender, "work", "first")
            assert ready.wait(20)
            with manager.mu:
                go.set()
                until(lambda: sys._current_frames()[thread.ident].f_code.co_name == "remove_timeout")
                manager._handle_deadlines()
            send(sender, "work", "second")
        until(lambda: not thread.is_alive() or len(ran) > 1)
        return thread.is_alive(), ran


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_stock_loses_a_thread_to_a_time_limit_that_strikes_as_the_job_ends(engine: Engine):
    assert strike_at_the_end(STOCK, engine) == (False, ["first"])


def test_ours_goes_on_after_a_time_limit_that_strikes_as_the_job_ends(engine: Engine):
    assert strike_at_the_end(OURS, engine) == (True, ["first", "second"])
