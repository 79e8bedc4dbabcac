"""Who is next: the urgent before the others, one application after another, and never more than a limit allows."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from backroom.domain.limits import Limit, Rate
from backroom.queue.open import Script, open_client
from backroom.queue.ops import Queues
from backroom.queue.rows import HEADER
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, actor, post, until, working


def worked(engine: Engine, expected: int, *, threads: int = 1, **options) -> list:
    """What a worker does with what waits, in its order."""
    ran: list = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]), **options), threads=threads):
        until(lambda: len(ran) == expected)
    return ran


def test_urgent_messages_go_first_and_bulk_ones_last(engine: Engine, sender: Sender):
    for priority in ("bulk", "normal", "urgent"):
        sender.send([post("note", priority, priority=priority) for _ in range(3)])

    ran = worked(engine, 9)

    assert ran[0] == "urgent"
    assert ran.index("bulk") > ran.index("normal") > 0


def test_bulk_messages_are_not_starved(engine: Engine, sender: Sender):
    sender.send([post("note", "urgent", priority="urgent") for _ in range(200)])
    sender.send([post("note", priority, priority=priority) for priority in ("bulk", "normal") for _ in range(5)])

    ran = worked(engine, 210)

    # One of ten for each lower class that waits, give or take what one fetch takes.
    assert ran[:60].count("bulk") >= 2
    assert ran[:60].count("normal") >= 2
    assert ran[:60].count("urgent") >= 40


def test_one_applications_flood_delays_another_by_a_few_jobs(engine: Engine, sender: Sender):
    sender.send([post("note", "flood", app="a") for _ in range(2_000)])
    sender.send([post("note", "single", app="b")])

    ran = worked(engine, 2_001)

    assert ran.index("single") <= 4


def test_many_applications_take_turns(engine: Engine, sender: Sender):
    for app in "abcd":
        sender.send([post("note", app, app=app) for _ in range(20)])

    ran = worked(engine, 80)

    for at in range(0, 80, 8):
        assert sorted(set(ran[at : at + 8])) == ["a", "b", "c", "d"]


def test_each_applications_messages_keep_their_order(engine: Engine, sender: Sender):
    for n in range(30):
        sender.send([post("note", f"{app}{n}", app=app) for app in "ab"])

    ran = worked(engine, 60)

    assert [n for n in ran if n[0] == "a"] == [f"a{n}" for n in range(30)]
    assert [n for n in ran if n[0] == "b"] == [f"b{n}" for n in range(30)]


def test_a_batch_takes_from_several_applications(engine: Engine, sender: Sender):
    batches: list[list[str]] = []
    for app in "abc":
        sender.send([post("rows", app, queue="rows", app=app) for _ in range(50)])

    def work(messages: list) -> None:
        batches.append([message.kwargs["message"]["n"] for message in messages])

    with working(engine, actor("rows", work, queue="rows", batch=30), threads=1):
        until(lambda: sum(map(len, batches)) == 150)

    assert {frozenset(batch) for batch in batches[:4]} == {frozenset("abc")}


LIMIT = Limit(name="calls", by=("n",), concurrent=2)


def test_no_more_messages_of_a_key_run_at_once_than_its_limit_allows(engine: Engine, sender: Sender, queues: Queues):
    lock, now, most, ran = threading.Lock(), {}, {}, []

    def work(message: dict) -> None:
        key = message["n"]
        with lock:
            now[key] = now.get(key, 0) + 1
            most[key] = max(most.get(key, 0), now[key])
        time.sleep(0.005)
        with lock:
            now[key] -= 1
            ran.append(key)

    sender.send([post("note", n, limits=(LIMIT.key({"n": n}),)) for _ in range(40) for n in ("x", "y")])
    with working(engine, actor("note", work, limits=(LIMIT,)), threads=8) as broker:
        broker.join("work", timeout=20_000)

    assert sorted(ran) == ["x"] * 40 + ["y"] * 40
    assert most == {"x": 2, "y": 2}
    assert queues.depths()["work"].limited == 0


def test_what_a_limit_holds_back_does_not_hold_up_the_others(engine: Engine, sender: Sender, queues: Queues):
    go, ran = threading.Event(), []

    def work(message: dict) -> None:
        if message["n"] == "slow":
            go.wait(20)
        ran.append(message["n"])

    slow = Limit(name="slow", concurrent=1)
    sender.send([post("note", "slow", limits=("slow",)) for _ in range(50)])
    sender.send([post("note", "free") for _ in range(20)])
    with working(engine, actor("note", work, limits=(slow,)), threads=2) as broker:
        until(lambda: ran.count("free") == 20)
        assert queues.depths()["work"].limited == 49
        go.set()
        broker.join("work", timeout=20_000)

    assert ran.count("slow") == 50


def test_a_dead_worker_gives_its_places_within_a_limit_back(engine: Engine, sender: Sender, queues: Queues):
    sender.send([post("note", n, limits=("one",)) for n in range(2)])
    one, ran = Limit(name="one", concurrent=1), []
    # A worker that took one, and is never heard of again.
    with open_client(engine.url) as client:
        fetch = Script(client, "fetch", prefix="br")
        assert fetch("gone", 50, 4, 0, 1, 1, "one", 1, 0, 0, 0, "work", 0, 0, 0)[HEADER:] != []
        assert queues.depths()["work"].limited == 1

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(one,))):
        until(lambda: sorted(ran) == [0, 1])


def test_what_a_dead_worker_had_in_a_limit_goes_before_those_that_wait_for_it(engine: Engine, sender: Sender):
    sender.send([post("note", n, limits=("one",)) for n in range(10)])
    one, ran = Limit(name="one", concurrent=1), []
    with open_client(engine.url) as client:
        # It takes the first, the others wait for the limit; then it is never heard of again.
        assert Script(client, "fetch", prefix="br")("gone", 50, 20, 0, 1, 1, "one", 1, 0, 0, 0, "work", 0, 0, 0)

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(one,))):
        until(lambda: len(ran) == 10)

    assert ran[0] == 0
    assert sorted(ran) == list(range(10))


def test_a_rate_spreads_starts_and_counts_no_attempt(engine: Engine, sender: Sender):
    starts: list[float] = []
    limit = Limit(name="calls", rate=Rate(20, per=timedelta(seconds=1), burst=5))
    sender.send([post("note", n, limits=("calls",)) for n in range(15)])

    def work(message: dict) -> None:
        starts.append(time.monotonic())

    with working(engine, actor("note", work, limits=(limit,), attempts=1), threads=8) as broker:
        broker.join("work", timeout=20_000)

    assert len(starts) == 15
    # Five at once, then one each 50 ms.
    assert starts[4] - starts[0] < 0.4
    assert starts[14] - starts[0] >= 0.45


def test_urgent_messages_pass_a_reached_rate_first(engine: Engine, sender: Sender):
    ran: list[str] = []
    limit = Limit(name="calls", rate=Rate(20, per=timedelta(seconds=1)))
    sender.send([post("note", "bulk", limits=("calls",), priority="bulk") for _ in range(30)])

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(limit,)), threads=2):
        until(lambda: len(ran) >= 2)
        sender.send([post("note", "urgent", limits=("calls",), priority="urgent")])
        until(lambda: len(ran) >= 10)

    assert "urgent" in ran[:8]


def test_an_operator_may_set_a_limit_for_a_while(engine: Engine, sender: Sender):
    limit = Limit(name="calls", rate=Rate(1, per=timedelta(hours=1)))
    with engine.client() as client:
        client.hset("{br}:limits", "calls", "0|1000|1000|1000")
    sender.send([post("note", n, limits=("calls",)) for n in range(20)])

    assert len(worked(engine, 20, limits=(limit,))) == 20


def test_a_queue_has_no_more_in_flight_than_an_operator_allows(engine: Engine, sender: Sender, queues: Queues):
    lock, now, most, ran = threading.Lock(), [0], [0], []

    def work(message: dict) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
            ran.append(message["n"])

    queues.rule("work", most=2)
    sender.send([post("note", n) for n in range(30)])
    with working(engine, actor("note", work), threads=8) as broker:
        broker.join("work", timeout=20_000)

    assert most[0] <= 2
    assert sorted(ran) == list(range(30))


def test_a_paused_queue_waits_and_goes_on_where_it_was(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    with working(
        engine,
        actor("note", lambda message: ran.append(message["n"])),
        actor("other", lambda message: ran.append(message["n"]), queue="other"),
    ):
        queues.rule("work", intake="paused")
        sender.send([post("note", n) for n in range(5)])
        sender.send([post("other", "there", queue="other")])
        until(lambda: ran)
        assert ran == ["there"]
        assert queues.depths()["work"].intake == "paused"
        queues.rule("work", intake="open")
        until(lambda: len(ran) == 6)

    assert queues.depths()["work"].intake == "open"


def test_a_limit_that_an_operator_eases_lets_those_in_who_wait_for_it(engine: Engine, sender: Sender, queues: Queues):
    ran: list[int] = []
    declared = Limit(name="calls", rate=Rate(1, per=timedelta(hours=1), burst=2))
    sender.send([post("note", n, limits=("calls",)) for n in range(5)])

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(declared,))):
        until(lambda: queues.depths()["work"].limited == 3)
        queues.limit(Limit(name="calls", rate=Rate(1_000, per=timedelta(seconds=1), burst=1_000)))
        until(lambda: sorted(ran) == list(range(5)))

    assert queues.limits()["calls"].rate == Rate(1_000, per=timedelta(seconds=1), burst=1_000)


def test_a_limit_that_is_as_declared_again_counts_what_was_started_meanwhile(
    engine: Engine, sender: Sender, queues: Queues
):
    ran: list[int] = []
    declared = Limit(name="calls", rate=Rate(1, per=timedelta(hours=1), burst=2))
    queues.limit(Limit(name="calls", rate=Rate(1_000, per=timedelta(seconds=1), burst=1_000)))

    with working(engine, actor("note", lambda message: ran.append(message["n"]), limits=(declared,))) as broker:
        sender.send([post("note", n, limits=("calls",)) for n in range(5)])
        broker.join("work", timeout=20_000)
        assert queues.usual_limit("calls")
        assert not queues.usual_limit("calls")
        sender.send([post("note", n, limits=("calls",)) for n in range(5, 10)])
        until(lambda: queues.depths()["work"].limited == 3)

    assert sorted(ran) == list(range(7))
