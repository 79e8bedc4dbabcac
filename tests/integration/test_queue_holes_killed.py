"""What becomes of jobs whose worker dies, or sleeps too long: with Dramatiq's own broker, and with ours."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dramatiq
import pytest
import redis
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from backroom.queue.answers import Answers, AsyncAnswers
from backroom.queue.open import open_async_client, open_client
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, post, until
from tests.integration.queue_sides import (
    OURS,
    STOCK,
    Shift,
    Side,
    at_work,
    counting,
    declared,
    message,
    send,
    sending,
    watch,
)

AS_IT_COMES = timedelta(0)
SECOND = timedelta(seconds=1)


@contextmanager
def shift(side: Side, engine: Engine, folder: Path, *, patience: timedelta) -> Iterator[Shift]:
    shift = Shift(side, engine, folder / side.name, patience=patience)
    try:
        yield shift
    finally:
        shift.dismiss()


# -- A worker is killed


def kill_the_first(shift: Shift) -> None:
    """The first worker dies with a job in its hands, and another one is there."""
    with sending(shift.side, shift.engine) as sender:
        send(sender, "hang", "job")
    first = shift.hire()
    until(lambda: shift.ran()["job"])
    shift.hire()
    first.kill()
    (shift.folder / "go").touch()


def test_stock_does_not_come_back_to_a_killed_workers_job_for_a_minute_and_then_by_lottery(
    engine: Engine, tmp_path: Path
):
    """Seen as it comes for 5 s only: its time-out is 60 s, after which each command wins with a chance of 1 in 1000."""
    with shift(STOCK, engine, tmp_path, patience=AS_IT_COMES) as stock:
        kill_the_first(stock)
        watch(lambda: len(stock.runs()) == 1, stays=5 * SECOND)

        assert STOCK.taken(engine) == 1


def test_ours_runs_a_killed_workers_job_when_its_lease_has_ended(engine: Engine, tmp_path: Path):
    with shift(OURS, engine, tmp_path, patience=SECOND) as ours:
        kill_the_first(ours)
        until(lambda: not OURS.bodies(engine))

        assert [run[2] for run in ours.runs()] == ["begun", "begun", "ended"]


# -- D3: a worker sleeps for longer than its lease, and goes on


def sleep_too_long(shift: Shift) -> int:
    """How often a job ran that the sleeper had fetched but not begun. Whoever took over is gone when it wakes."""
    with sending(shift.side, shift.engine) as sender:
        send(sender, "hang", "first")
        send(sender, "note", "second")
        sleeper = shift.hire()
        until(lambda: shift.ran()["first"])
        until(lambda: shift.side.taken(shift.engine) == 2)
        os.kill(sleeper.pid, signal.SIGSTOP)
        (shift.folder / "go").touch()
        heir = shift.hire()
        until(lambda: shift.ran()["second"] and not shift.side.bodies(shift.engine))
        heir.kill()
        os.kill(sleeper.pid, signal.SIGCONT)
        # It has one thread: when this has run, everything that it held is decided.
        send(sender, "note", "last")
        until(lambda: shift.ran()["last"])
    return shift.ran()["second"]


def test_stock_runs_what_a_sleeper_holds_a_second_time(engine: Engine, tmp_path: Path):
    with shift(STOCK, engine, tmp_path, patience=SECOND) as stock:
        assert sleep_too_long(stock) == 2


def test_ours_does_not_begin_what_a_sleeper_no_longer_holds(engine: Engine, tmp_path: Path):
    with shift(OURS, engine, tmp_path, patience=SECOND) as ours:
        assert sleep_too_long(ours) == 1


# -- A message kills whoever works on it


def spread(shift: Shift, *, deaths: int) -> None:
    """Hire again whenever the poison has killed somebody."""
    with sending(shift.side, shift.engine) as sender:
        send(sender, "die", "poison")
        while shift.ran()["poison"] < deaths and not shift.side.dead(shift.engine):
            process = shift.hire()
            until(lambda: process.poll() is not None or shift.side.dead(shift.engine))  # noqa: B023


def test_stock_has_a_message_that_kills_its_worker_kill_the_next_one_for_ever(engine: Engine, tmp_path: Path):
    """Seen for one death more than ours allows."""
    with shift(STOCK, engine, tmp_path, patience=0.3 * SECOND) as stock:
        spread(stock, deaths=6)

        assert (stock.ran()["poison"], STOCK.bodies(engine), STOCK.dead(engine)) == (6, 1, 0)


def test_ours_buries_a_message_that_has_killed_five_workers(engine: Engine, tmp_path: Path):
    with shift(OURS, engine, tmp_path, patience=0.3 * SECOND) as ours:
        spread(ours, deaths=6)

        assert (ours.ran()["poison"], OURS.dead(engine)) == (5, 1)


# -- A worker dies with a member of a group that has been counted and not acknowledged


def die_with_a_member(shift: Shift) -> int:
    """How often the group called back while another member was at work."""
    with sending(shift.side, shift.engine) as sender:
        sender.add_middleware(counting(shift.engine.url))
        members = dramatiq.group([message("member", "dies"), message("hang", "hangs")], broker=sender)
        members.add_completion_callback(message("note", "callback"))
        members.run()
        first = shift.hire()
        until(lambda: first.poll() is not None)
        shift.hire(threads=2)
        # What is left is the member at work, and a callback unless it has run.
        until(lambda: shift.ran()["dies"] == 2 and shift.ran()["hangs"])
        until(lambda: shift.side.bodies(shift.engine) == 1)
        early = shift.ran()["callback"]
        (shift.folder / "go").touch()
        until(lambda: not shift.side.bodies(shift.engine))
    return early


def test_stock_calls_back_for_a_group_before_its_last_member_is_done(engine: Engine, tmp_path: Path):
    with shift(STOCK, engine, tmp_path, patience=SECOND) as stock:
        assert die_with_a_member(stock) == 1


def test_ours_calls_back_for_a_group_once_and_after_its_last_member(engine: Engine, tmp_path: Path):
    with shift(OURS, engine, tmp_path, patience=SECOND) as ours:
        assert die_with_a_member(ours) == 0
        assert ours.ran()["callback"] == 1
        assert [run[0] for run in ours.runs()][-1] == "callback"


# -- An urgent message is sent behind a flood


def overtake(ran: list[str]) -> int:
    until(lambda: len(ran) == 301, within=60)
    return ran.index("urgent")


def test_stock_leaves_an_urgent_message_behind_a_flood(engine: Engine):
    ran: list[str] = []

    def jobs(broker: dramatiq.Broker) -> None:
        declared(broker, "work", ran.append)
        declared(broker, "now", ran.append, priority=-1)

    with sending(STOCK, engine) as sender:
        for n in range(300):
            send(sender, "work", str(n))
        send(sender, "now", "urgent")
        with at_work(STOCK.broker(engine.url), jobs, threads=1):
            # Priority orders what a worker has fetched, and nothing else.
            assert overtake(ran) > 290


def test_ours_runs_an_urgent_message_before_a_flood(engine: Engine):
    ran: list[str] = []
    with open_client(engine.url) as client:
        sender = Sender(client, prefix="br")
        sender.send([post("work", str(n), queue="default") for n in range(300)])
        sender.send([post("work", "urgent", queue="default", priority="urgent")])
        declare = lambda broker: declared(broker, "work", lambda message: ran.append(message["n"]))  # noqa: E731
        with at_work(OURS.broker(engine.url), declare, threads=1):
            assert overtake(ran) < 10


# -- K2: an outcome is waited for, for longer than a socket's usual time-out

LATE = 5.6


def test_stock_fails_who_waits_for_a_result_longer_than_five_seconds(engine: Engine):
    backend = RedisBackend(url=engine.url)
    broker = STOCK.broker(engine.url, middleware=[Results(backend=backend)])
    since = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        backend.get_result(message("work"), block=True, timeout=10_000)

    assert time.monotonic() - since < 9
    backend.client.close()
    broker.close()


async def wait_for_answer(engine: Engine) -> bytes | None:
    async with asyncio.timeout(60):
        client = open_async_client(engine.url)
        answers = AsyncAnswers(client, prefix="br")

        async def answer_late() -> None:
            await asyncio.sleep(LATE)
            with open_client(engine.url) as other:
                Answers(other, prefix="br").give("m1", b"done")

        late = asyncio.create_task(answer_late())
        try:
            return await answers.wait("m1", timeout=timedelta(seconds=30))
        finally:
            await late
            await answers.close()
            await client.aclose()


def test_ours_waits_for_an_outcome_as_long_as_it_is_asked_to(engine: Engine):
    assert asyncio.run(wait_for_answer(engine)) == b"done"
