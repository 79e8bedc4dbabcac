"""What becomes of a message: one of a kind, in time or not at all, cancelled, and known afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Literal

import pytest
import structlog

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Full, Invalid, QueueAway
from backroom.domain.limits import Limit
from backroom.queue.mend import mend
from backroom.queue.open import Script, open_async_client, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.running import Running
from backroom.queue.sender import AsyncSender, Sender
from backroom.queue.wire import OneOfAKind, sealed
from tests.integration.queue_engine import Engine, actor, let_pass, post, until, working

HOUR = timedelta(hours=1)
AT_ONCE = Backoff(first=timedelta(milliseconds=1), longest=timedelta(milliseconds=2))


# One of a kind


def test_a_second_message_of_a_kind_is_not_enqueued_while_the_first_waits_or_runs(engine: Engine, sender: Sender):
    begun, go, ran = threading.Event(), threading.Event(), []
    one = OneOfAKind(key="report/7", mode="r")

    def work(message: dict) -> None:
        begun.set()
        go.wait(20)
        ran.append(message["n"])

    (first,) = sender.send([post("note", 1, id="m1", unique=one)])
    (waiting,) = sender.send([post("note", 2, unique=one)])
    with working(engine, actor("note", work)) as broker:
        begun.wait(20)
        (while_running,) = sender.send([post("note", 3, unique=one)])
        go.set()
        broker.join("work", timeout=10_000)
        (later,) = sender.send([post("note", 4, unique=one)])
        broker.join("work", timeout=10_000)

    assert (first.fresh, waiting.fresh, while_running.fresh, later.fresh) == (True, False, False, True)
    assert waiting.id == while_running.id == "m1"
    assert ran == [1, 4]


def test_what_is_unique_only_until_it_begins_may_be_enqueued_while_it_runs(engine: Engine, sender: Sender):
    begun, go, ran = threading.Event(), threading.Event(), []
    one = OneOfAKind(key="sync/7", mode="q")

    def work(message: dict) -> None:
        begun.set()
        go.wait(20)
        ran.append(message["n"])

    sender.send([post("note", 1, unique=one)])
    assert not sender.send([post("note", 2, unique=one)])[0].fresh
    with working(engine, actor("note", work), threads=1) as broker:
        begun.wait(20)
        assert sender.send([post("note", 3, unique=one)])[0].fresh
        go.set()
        broker.join("work", timeout=10_000)

    assert ran == [1, 3]


def test_what_is_unique_for_a_period_stays_so_after_its_end(engine: Engine, sender: Sender):
    one = OneOfAKind(key="digest/7", mode="p", period=HOUR)
    sender.send([post("note", 1, id="m1", unique=one)])
    with working(engine, actor("note", lambda message: None)) as broker:
        broker.join("work", timeout=10_000)

    (again,) = sender.send([post("note", 2, unique=one)])

    assert (again.id, again.fresh) == ("m1", False)


def test_a_later_message_takes_the_place_of_one_that_waits(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    one = OneOfAKind(key="index/7", mode="r", replace=True)
    for n in range(5):
        sender.send([post("note", n, id=f"m{n}", unique=one, delay=timedelta(milliseconds=300))])

    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=10_000)

    assert ran == [4]
    assert (queues.life("m0").state, queues.life("m0").note) == ("cancelled", "replaced")


def test_a_key_whose_message_is_gone_holds_up_nothing(engine: Engine, sender: Sender, queues: Queues):
    one = OneOfAKind(key="nightly", mode="r")
    sender.send([post("note", 1, id="m1", unique=one)])
    with engine.client() as client:
        # As somebody does who deletes keys by hand.
        client.hdel("{br}:msgs", "m1")

    (later,) = sender.send([post("note", 2, unique=one)])

    assert later.fresh


@pytest.mark.parametrize("end", ["dead", "cancelled", "discarded", "purged", "expired"])
def test_every_end_frees_the_key(engine: Engine, sender: Sender, queues: Queues, end: str):
    one = OneOfAKind(key="k", mode="r")
    expires = timedelta(milliseconds=1) if end == "expired" else None
    sender.send([post("note", 1, id="m1", unique=one, expires=expires)])

    def refuse(message: dict) -> None:
        raise Invalid("/n", "is odd")

    if end in {"dead", "expired"}:
        with working(engine, actor("note", refuse)) as broker:
            broker.join("work", timeout=10_000)
    elif end == "cancelled":
        assert queues.cancel("m1") == "cancelled"
    elif end == "discarded":
        assert queues.discard("m1")
    else:
        assert queues.purge("work") == 1

    assert sender.send([post("note", 2, unique=one)])[0].fresh
    with engine.client() as client:
        assert client.hlen("{br}:extras") == 1


# In time


@pytest.mark.parametrize(
    ("what", "mode", "follows"),
    [("done", "r", True), ("dead", "r", True), ("again", "r", False), ("release", "r", False), ("done", "p", False)],
)
def test_a_job_that_asks_for_itself_again_is_not_in_its_own_way_once_it_is_over(
    engine: Engine, sender: Sender, queues: Queues, what: str, mode: Literal["r", "p"], *, follows: bool
):
    one = OneOfAKind(key="poll/7", mode=mode, period=HOUR)
    sender.send([post("note", 1, id="m1", unique=one)])
    with open_client(engine.url) as client:
        row = Script(client, "fetch", prefix="br")("w", 60_000, 1, 0, 0, 1, "work", 0, 0, 0)[HEADER:]
        again = sealed(post("note", 2, id="m2", unique=one, delay=HOUR))
        itself = sealed(post("note", 3, id="m1"))
        body = b"" if what == "done" else row[5]
        args = [what, "m1", row[3], 60_000, body, "why", 2, *again, *itself]

        for heard in (1, 0):
            assert Script(client, "settle", prefix="br")("w", 1, *args) == [heard]

    state = {"done": "done", "dead": "dead", "again": "scheduled", "release": "queued"}[what]
    assert queues.find("m1")[0] == state
    assert queues.find("m2")[0] == ("scheduled" if follows else "unknown")
    (other,) = sender.send([post("note", 4, unique=one)])
    assert (other.fresh, other.id) == (False, "m2" if follows else "m1")


def test_a_message_past_its_time_is_not_run_and_says_so(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    sender.send([post("note", 1, id="late", expires=timedelta(milliseconds=1)), post("note", 2, expires=HOUR)])
    let_pass(engine, timedelta(milliseconds=2))

    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=10_000)

    assert ran == [2]
    assert queues.life("late").state == "expired"


# Cancelled


def test_what_waits_is_cancelled_at_once(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    sender.send([post("note", 1, id="now"), post("note", 2, id="later", delay=HOUR, app="a"), post("note", 3)])

    assert (queues.cancel("now"), queues.cancel("later"), queues.cancel("never")) == (
        "cancelled",
        "cancelled",
        "unknown",
    )
    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=10_000)

    assert ran == [3]
    assert [queues.life(id).state for id in ("now", "later")] == ["cancelled", "cancelled"]
    assert queues.cancel("now") == "done"
    with engine.client() as client:
        assert client.zcard("{br}:delayed:work") == 0


def test_what_runs_is_asked_to_stop(engine: Engine, sender: Sender, queues: Queues):
    begun, seen = threading.Event(), []

    def work(message: dict) -> None:
        begun.set()
        until(lambda: broker.cancelled("m1"))
        seen.append("asked")
        raise Cancel

    # The only thread is busy, so the worker hears of it with its next sign of life.
    with working(engine, actor("note", work, kept=HOUR), threads=1) as broker:
        sender.send([post("note", id="m1")])
        begun.wait(20)
        assert queues.cancel("m1") == "asked"
        assert queues.life("m1").cancelling
        broker.join("work", timeout=10_000)

    assert seen == ["asked"]
    assert queues.life("m1").state == "cancelled"
    with engine.client() as client:
        assert not client.exists("{br}:cancels")


def test_what_was_asked_to_stop_and_fails_is_not_tried_again(engine: Engine, sender: Sender, queues: Queues):
    begun, go, ran = threading.Event(), threading.Event(), []

    def work(message: dict) -> None:
        ran.append(1)
        begun.set()
        go.wait(20)
        raise RuntimeError("odd")

    with working(engine, actor("note", work, backoff=AT_ONCE)) as broker:
        sender.send([post("note", id="m1")])
        begun.wait(20)
        assert queues.cancel("m1") == "asked"
        go.set()
        broker.join("work", timeout=10_000)

    assert ran == [1]
    assert queues.life("m1").state == "cancelled"


# Known afterwards


def test_a_life_is_told_from_its_beginning_to_its_end(engine: Engine, sender: Sender, queues: Queues):
    told: list = []
    with open_client(engine.url) as client:
        progress = Running(client, prefix="br").progress

        def work(message: dict) -> dict:
            told.append(queues.life("m1"))
            if len(told) == 1:
                raise RuntimeError("once")
            progress("m1", 0.5, "half of the pages")
            told.append(queues.life("m1"))
            return {"pages": 7}

        slow = Backoff(first=timedelta(milliseconds=700), longest=timedelta(seconds=1), jitter=0)
        with working(engine, actor("note", work, backoff=slow, kept=HOUR)) as broker:
            sender.send([post("note", id="m1", app="a", priority="urgent", delay=timedelta(milliseconds=300))])
            scheduled = queues.life("m1")
            until(lambda: queues.life("m1").state == "retrying")
            retrying = queues.life("m1")
            broker.join("work", timeout=10_000)

    done = queues.life("m1")
    assert (scheduled.state, scheduled.job, scheduled.queue) == ("scheduled", "note", "work")
    assert scheduled.due > scheduled.sent
    assert (told[0].state, told[0].attempts, bool(told[0].worker)) == ("running", 0, True)
    assert (retrying.attempts, retrying.errors) == (1, ("RuntimeError: once",))
    assert (told[2].progress, told[2].note) == (0.5, "half of the pages")
    assert (done.state, done.attempts, done.errors, done.result) == ("done", 1, ("RuntimeError: once",), {"pages": 7})
    assert done.ended is not None
    with engine.client() as client:
        assert not client.exists("{br}:progress")


def test_a_job_of_floods_leaves_nothing_but_the_tombstone(engine: Engine, sender: Sender, queues: Queues):
    with working(engine, actor("note", lambda message: {"n": 1}, kept=timedelta(0))) as broker:
        sender.send([post("note", id="m1")])
        broker.join("work", timeout=10_000)

    assert (queues.life("m1").state, queues.life("m1").result) == ("done", None)
    with engine.client() as client:
        assert not client.exists("{br}:endings")


def test_a_result_that_is_too_large_is_dropped_and_the_job_is_done(engine: Engine, sender: Sender, queues: Queues):
    with working(engine, actor("note", lambda message: "x" * 5_000, kept=HOUR)) as broker:
        sender.send([post("note", id="m1")])
        broker.join("work", timeout=10_000)

    assert (queues.life("m1").state, queues.life("m1").result) == ("done", None)


# Not too many


def test_a_queue_over_its_mark_takes_nothing_more_but_what_follows_from_work(
    engine: Engine, sender: Sender, queues: Queues
):
    queues.rule("work", mark=3)
    sender.send([post("note", n) for n in range(3)])

    with pytest.raises(Full, match="the queue work is full") as refused:
        sender.send([post("note", 3), post("note", 4, queue="other")])
    with open_client(engine.url) as client:
        assert Sender(client, prefix="br", always=True).send([post("note", 5)])[0].fresh

    assert refused.value.after > timedelta(0)
    assert (queues.depths()["work"].ready, "other" in queues.depths()) == (4, False)
    queues.rule("work", mark=0)
    assert sender.send([post("note", 6)])[0].fresh


def test_a_queue_that_is_too_far_behind_takes_nothing_more(engine: Engine, sender: Sender, queues: Queues):
    queues.rule("work", age=timedelta(milliseconds=1))
    sender.send([post("note", 1)])
    let_pass(engine, timedelta(milliseconds=2))

    with pytest.raises(Full, match="too far behind"):
        sender.send([post("note", 2)])


def test_a_queue_is_as_far_behind_as_its_oldest_message_whoever_is_next(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", 1, id="gone", app="b"), post("note", 2, app="a")])
    let_pass(engine, timedelta(milliseconds=2))
    queues.cancel("gone")
    queues.rule("work", age=timedelta(milliseconds=1))

    # The first place in line is empty, and the second one's message is old.
    with pytest.raises(Full, match="too far behind"):
        sender.send([post("note", 3, app="b")])


def test_a_queue_that_is_drained_is_worked_off_and_takes_nothing_in(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    sender.send([post("note", n) for n in range(5)])
    queues.rule("work", intake="draining")

    with pytest.raises(Full, match="being drained"):
        sender.send([post("note", 5)])
    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=10_000)

    assert ran == list(range(5))


# By hand


def test_messages_are_looked_at_moved_and_dropped(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", n, id=f"m{n}", app="a") for n in range(5)])
    sender.send([post("note", "urgent", id="u", priority="urgent"), post("note", "later", id="l", delay=HOUR)])

    assert [one.message_id for one in queues.peek("work", 3)] == ["u", "m0", "m1"]
    assert queues.move("work", "other", limit=4) == 4
    assert [one.message_id for one in queues.peek("other")] == ["u", "m0", "m1", "m2"]
    assert {one.queue_name for one in queues.peek("other")} == {"other"}
    assert (queues.depths()["work"].ready, queues.depths()["other"].ready) == (2, 4)
    assert queues.purge("work") == 3
    assert queues.depths()["work"].ready == queues.depths()["work"].delayed == 0
    ran: list = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]), queue="other")) as broker:
        broker.join("other", timeout=10_000)
    assert ran == ["urgent", 0, 1, 2]


def test_what_waits_for_a_limit_is_dropped_with_its_queue(engine: Engine, sender: Sender, queues: Queues):
    begun, go = threading.Event(), threading.Event()

    def work(message: dict) -> None:
        begun.set()
        go.wait(20)

    one = Limit(name="one", concurrent=1)
    sender.send([post("note", n, limits=("one",)) for n in range(5)])
    with working(engine, actor("note", work, limits=(one,)), threads=2) as broker:
        begun.wait(20)
        until(lambda: queues.depths()["work"].limited == 4)
        assert queues.purge("work") == 4
        go.set()
        broker.join("work", timeout=10_000)

    with engine.client() as client:
        assert client.hlen("{br}:msgs") == 0


def test_an_engine_with_little_memory_left_takes_nothing_more_and_then_does_again(engine: Engine, queues: Queues):
    with open_client(engine.url) as client:
        client.set("ballast", b"x" * 50_000_000)
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * 1.05))
        with pytest.raises(Full, match="little memory left"):
            Sender(client, prefix="br").send([post("note")])
        assert Sender(client, prefix="br", always=True).send([post("note")])[0].fresh
        client.config_set("maxmemory", used * 10)
        assert Sender(client, prefix="br").send([post("note")])[0].fresh


async def _told_async(engine: Engine) -> list[bool]:
    client = open_async_client(engine.url)
    sender = AsyncSender(client, prefix="br", timeout=timedelta(seconds=5))
    told = []
    try:
        for maxmemory in (1, 0):
            await client.config_set("maxmemory", maxmemory)
            deadline = time.monotonic() + 20
            refused = not maxmemory
            # The door looks once a second.
            while refused == (not maxmemory) and time.monotonic() < deadline:
                try:
                    await sender.send([post("note")])
                    refused = False
                except Full:
                    refused = True
                except QueueAway:
                    pass
                await asyncio.sleep(0.02)
            told.append(refused)
    finally:
        await sender.close()
        await client.aclose()
    return told


def test_the_door_learns_that_memory_is_short_and_that_it_is_back(engine: Engine):
    assert asyncio.run(_told_async(engine)) == [True, False]


# Versions side by side


def test_a_message_of_a_newer_form_waits_for_code_that_reads_it(engine: Engine, sender: Sender, queues: Queues):
    ran: list = []
    sender.send([post("note", "new", id="new"), post("note", "old")])
    with engine.client() as client:
        body = client.hget("{br}:msgs", "new")
        client.hset("{br}:msgs", "new", body.replace(b'"options":{', b'"options":{"wire":2'))

    with working(engine, actor("note", lambda message: ran.append(message["n"]))):
        until(lambda: queues.life("new").state == "scheduled")

    assert ran == ["old"]
    assert queues.life("new").note == "no worker knows this job"


def test_code_that_knows_another_layout_takes_nothing(engine: Engine, sender: Sender, queues: Queues):
    ran: list = []
    with engine.client() as client:
        client.set("{br}:layout", "1")
    sender.send([post("note", 1)])

    with (
        structlog.testing.capture_logs() as logs,
        working(engine, actor("note", lambda message: ran.append(message["n"]))),
    ):
        until(lambda: any(one["event"] == "queue.other_layout" for one in logs))

    assert ran == []
    assert queues.depths()["work"].ready == 1


# After an accident


def test_bodies_that_somebody_deleted_are_reported_and_the_rest_goes_on(engine: Engine, sender: Sender):
    ran: list = []
    sender.send([post("note", n, id=f"m{n}") for n in range(4)])
    with engine.client() as client:
        client.hdel("{br}:msgs", "m1", "m2")

    with (
        structlog.testing.capture_logs() as logs,
        working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker,
    ):
        broker.join("work", timeout=10_000)

    assert ran == [0, 3]
    assert sum(one["count"] for one in logs if one["event"] == "message.missing") == 2


def test_messages_whose_place_somebody_deleted_are_put_back(engine: Engine, sender: Sender, queues: Queues):
    ran: list = []
    sender.send([post("note", n, app="a") for n in range(3)])
    sender.send([post("note", "later", delay=HOUR), post("note", "here")])
    with engine.client() as client:
        client.delete("{br}:line:work:2a", "{br}:delayed:work")

    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        until(lambda: ran == ["here"])
        broker.join("work", timeout=10_000)
        with open_client(engine.url) as client:
            assert mend(client, prefix="br") == 4
            assert mend(client, prefix="br") == 0
        broker.join("work", timeout=10_000)

    assert sorted(map(str, ran)) == ["0", "1", "2", "here", "later"]


def test_mending_leaves_alone_what_stands_somewhere(engine: Engine, sender: Sender, queues: Queues):
    begun, go = threading.Event(), threading.Event()

    def work(message: dict) -> None:
        begun.set()
        go.wait(20)

    one = Limit(name="one", concurrent=1)
    sender.send([post("note", n, limits=("one",)) for n in range(3)])
    with working(engine, actor("note", work, limits=(one,)), threads=2) as broker:
        begun.wait(20)
        sender.send([post("other", queue="other"), post("note", delay=HOUR)])
        with open_client(engine.url) as client:
            assert mend(client, prefix="br") == 0
        go.set()
        queues.purge("work")
        broker.join("work", timeout=10_000)
