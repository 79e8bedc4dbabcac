"""What workers do with what is on the queue, while nobody is killed."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout
from dramatiq.middleware import AgeLimit, Retries, TimeLimitExceeded

from backroom.cli._checks import check_valkey
from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Full, Invalid, QueueAway, Snooze, StoreAway
from backroom.queue.broker import ValkeyBroker
from backroom.queue.decide import BatchFailed
from backroom.queue.open import open_client
from backroom.queue.ops import BODIES_AT_ONCE, Queues
from backroom.queue.sender import Sender
from tests.integration.queue_engine import Engine, actor, post, until, working

AT_ONCE = Backoff(first=timedelta(milliseconds=1), longest=timedelta(milliseconds=2))


def test_a_stock_dramatiq_program_runs(engine: Engine):
    ran = []
    with working(engine, actor("add", lambda x, y: ran.append(x + y))) as broker:
        add = broker.get_actor("add")
        begun = time.monotonic()
        add.send(1, 2)
        add.send_with_options(args=(3, 4), delay=200)
        broker.join("work", timeout=5000)

    assert ran == [3, 7]
    assert time.monotonic() - begun >= 0.2


def test_a_stock_retries_middleware_writes_its_retry_in_the_acknowledgement(engine: Engine):
    tries = []

    def fail_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("once")

    declare = actor("flaky", fail_once, min_backoff=10, max_backoff=20)
    with working(engine, declare, middleware=[Retries()]) as broker:
        broker.get_actor("flaky").send()
        broker.join("work", timeout=5000)

    assert len(tries) == 2


def test_a_program_that_sends_while_the_engine_is_away_is_told(engine: Engine):
    broker = ValkeyBroker(engine.url, prefix="br")
    declared = dramatiq.actor(print, broker=broker, actor_name="say")
    engine.kill()

    with pytest.raises(ConnectionClosed):
        declared.send("hello")

    broker.close()


def test_a_join_waits_for_what_is_due_later_too_and_a_flush_drops_all_of_it(engine: Engine):
    broker = ValkeyBroker(engine.url, prefix="br")
    declared = dramatiq.actor(print, broker=broker, actor_name="say")
    declared.send("hello")
    declared.send_with_options(args=("later",), delay=60_000)

    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)
    broker.flush_all()
    broker.join("default", timeout=1000)

    broker.close()


def test_a_failed_attempt_is_kept_with_the_message_until_it_succeeds(engine: Engine, sender: Sender):
    seen = []

    def fail_twice(message: dict) -> None:
        current = dramatiq.middleware.CurrentMessage.get_current_message()
        seen.append((current.options.get("attempt", 0), list(current.options.get("errors", []))))
        if len(seen) < 3:
            raise RuntimeError(f"no. {len(seen)}")

    with working(engine, actor("note", fail_twice, backoff=AT_ONCE)) as broker:
        sender.send([post("note")])
        broker.join("work", timeout=5000)

    assert seen == [(0, []), (1, ["RuntimeError: no. 1"]), (2, ["RuntimeError: no. 1", "RuntimeError: no. 2"])]


def test_a_dead_letter_tells_why_and_can_be_tried_again_or_dropped(engine: Engine, sender: Sender, queues: Queues):
    broken, ran = threading.Event(), []
    broken.set()

    def work(message: dict) -> None:
        if broken.is_set():
            raise RuntimeError("odd")
        ran.append(message["n"])

    with working(engine, actor("note", work, attempts=2, backoff=AT_ONCE)) as broker:
        sender.send([post("note", 1, id="m1"), post("note", 2, id="m2")])
        broker.join("work", timeout=5000)
        dead = {one.id: one for one in queues.dead()}
        broken.clear()
        assert queues.retry("m1")
        assert queues.discard("m2")
        broker.join("work", timeout=5000)

    assert {(one.job, one.queue, one.reason, one.attempts) for one in dead.values()} == {
        ("note", "work", "RuntimeError: odd", 2)
    }
    assert ran == [1]
    assert queues.dead() == []
    assert (queues.find("m1")[0], queues.find("m2")[0]) == ("done", "done")
    assert not queues.retry("m1")


def test_dead_letters_are_read_page_by_page(engine: Engine, sender: Sender, queues: Queues):
    def refuse(message: dict) -> None:
        raise Invalid("/n", "is odd")

    with working(engine, actor("note", refuse), threads=1) as broker:
        sender.send([post("note", n, id=f"m{n}") for n in range(5)])
        broker.join("work", timeout=5000)

    first = queues.dead(limit=3)
    rest = queues.dead(limit=3, after=first[-1].id)

    assert [one.id for one in first + rest] == sorted((f"m{n}" for n in range(5)), reverse=True)
    assert first[0].reason == "/n: is odd"
    assert queues.dead_letter("m0") == rest[-1]
    # Who goes on after one that has left meanwhile is not told that there are no more.
    queues.discard(first[-1].id)
    assert queues.dead_letter(first[-1].id) is None
    with pytest.raises(Invalid, match="there is no dead letter m2"):
        queues.dead(limit=3, after=first[-1].id)


def test_no_step_reads_more_than_a_few_bodies_of_dead_letters(engine: Engine, sender: Sender, queues: Queues):
    def refuse(message: dict) -> None:
        raise Invalid("/n", "is odd")

    ids = {f"m{n}" for n in range(2 * BODIES_AT_ONCE + 1)}
    with working(engine, actor("note", refuse), threads=1) as broker:
        sender.send([post("note", id=id) for id in ids])
        broker.join("work", timeout=5000)

    with open_client(engine.url) as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert {one.id for one in queues.dead(limit=1_000)} == ids
        assert queues.dead_letter("m0")
        after = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    # The ids, three steps of bodies, and the one letter.
    assert after - before >= 5


def test_outcomes_are_no_failures(engine: Engine, sender: Sender, queues: Queues):
    ran = []

    def work(message: dict) -> None:
        ran.append(message["n"])
        if message["n"] == "cancel":
            raise Cancel
        if ran.count("snooze") == 1:
            raise Snooze(timedelta(milliseconds=10))

    with working(engine, actor("note", work, attempts=1)) as broker:
        sender.send([post("note", "cancel"), post("note", "snooze")])
        broker.join("work", timeout=5000)

    assert sorted(ran) == ["cancel", "snooze", "snooze"]
    assert queues.dead() == []


def test_an_engine_that_is_away_burns_no_attempt_and_no_processor(engine: Engine, sender: Sender, queues: Queues):
    away, tries, ran = threading.Event(), [], []
    away.set()

    def work(message: dict) -> None:
        tries.append(time.monotonic())
        if away.is_set():
            raise StoreAway
        ran.append(message["n"])

    with working(engine, actor("note", work, attempts=1), threads=2) as broker:
        sender.send([post("note", n) for n in range(50)])
        until(lambda: len(tries) >= 6)
        # Four were taken before the first said so; from then on one goes to see whether the engine is back.
        assert tries[5] - tries[0] >= 0.9
        away.clear()
        broker.join("work", timeout=20_000)

    assert sorted(ran) == list(range(50))
    assert queues.dead() == []


def test_an_unknown_job_waits_and_leaves_its_neighbours_alone(engine: Engine, sender: Sender, queues: Queues):
    ran = []
    with working(engine, actor("note", lambda message: ran.append(message["n"]))):
        sender.send([post("note", 1), post("of.tomorrow", id="m1"), post("note", 2)])
        until(lambda: sorted(ran) == [1, 2])
        until(lambda: queues.find("m1")[0] == "scheduled")

    assert queues.dead() == []


def test_an_unknown_job_is_dead_after_a_day(engine: Engine, queues: Queues):
    broker = ValkeyBroker(engine.url, prefix="br")
    long_ago = time.time_ns() // 1_000_000 - 25 * 3_600_000
    broker.enqueue(
        dramatiq.Message(
            queue_name="work",
            actor_name="of.yesterday",
            args=(),
            kwargs={},
            options={"parked": long_ago},
            message_id="m1",
        )
    )
    broker.close()

    with working(engine, actor("note", print)):
        until(lambda: queues.find("m1")[0] == "dead")

    assert "of.yesterday" in queues.dead()[0].reason


@pytest.mark.parametrize("body", [b"\xff not json", b"{}", b""])
def test_an_undecodable_body_dies_alone(engine: Engine, sender: Sender, queues: Queues, body: bytes):
    ran = []
    sender.send([post("note", 1), post("note", id="m1"), post("note", 2)])
    with engine.client() as client:
        client.hset("{br}:msgs", "m1", body)

    with working(engine, actor("note", lambda message: ran.append(message["n"]))) as broker:
        broker.join("work", timeout=5000)

    (dead,) = queues.dead()
    assert sorted(ran) == [1, 2]
    assert (dead.id, dead.body) == ("m1", body)
    assert "decoded" in dead.reason


def test_a_batch_gets_its_messages_together(engine: Engine, sender: Sender):
    sizes = []
    sender.send([post("rows", n, queue="rows") for n in range(250)])

    with working(
        engine, actor("rows", lambda messages: sizes.append(len(messages)), queue="rows", batch=100)
    ) as broker:
        broker.join("rows", timeout=5000)

    assert sorted(sizes) == [50, 100, 100]


def test_a_batch_lingers_for_more_while_other_queues_go_on(engine: Engine, sender: Sender):
    sizes, ran = [], []
    actors = (
        actor("rows", lambda messages: sizes.append(len(messages)), queue="rows", batch=100, linger_ms=1500),
        actor("note", lambda message: ran.append(message["n"])),
    )
    with working(engine, *actors) as broker:
        sender.send([post("rows", queue="rows")])
        sender.send([post("note", 1)])
        until(lambda: ran)
        assert sizes == []
        sender.send([post("rows", queue="rows") for _ in range(4)])
        broker.join("rows", timeout=5000)

    assert sizes == [5]


def test_a_full_batch_lingers_no_longer(engine: Engine, sender: Sender):
    sizes = []
    declare = actor("rows", lambda messages: sizes.append(len(messages)), queue="rows", batch=10, linger_ms=60_000)
    with working(engine, declare):
        sender.send([post("rows", queue="rows")])
        sender.send([post("rows", queue="rows") for _ in range(9)])
        until(lambda: sizes == [10], within=10)


def test_each_message_of_a_batch_may_have_its_own_outcome(engine: Engine, sender: Sender, queues: Queues):
    ran = []

    def work(messages: list[dramatiq.Message]) -> None:
        ran.append(sorted(message.message_id for message in messages))
        failures: dict[str, BaseException] = {}
        for message in messages:
            if message.message_id == "bad":
                failures["bad"] = Invalid("/n", "is bad")
            if message.message_id == "flaky" and "attempt" not in message.options:
                failures["flaky"] = RuntimeError("once")
        if failures:
            raise BatchFailed(failures)

    with working(engine, actor("rows", work, queue="rows", batch=10, backoff=AT_ONCE)) as broker:
        sender.send([post("rows", queue="rows", id=id) for id in ("good", "bad", "flaky")])
        broker.join("rows", timeout=5000)

    assert ran == [["bad", "flaky", "good"], ["flaky"]]
    assert [(one.id, one.reason) for one in queues.dead()] == [("bad", "/n: is bad")]


def test_one_poison_message_does_not_take_its_batch_with_it(engine: Engine, sender: Sender, queues: Queues):
    done = []

    def work(messages: list[dramatiq.Message]) -> None:
        if any(message.kwargs["message"]["n"] == 3 for message in messages):
            raise RuntimeError("three")
        done.extend(message.kwargs["message"]["n"] for message in messages)

    with working(engine, actor("rows", work, queue="rows", batch=10, attempts=3, backoff=AT_ONCE)) as broker:
        sender.send([post("rows", n, queue="rows") for n in range(6)])
        broker.join("rows", timeout=10_000)

    assert sorted(done) == [0, 1, 2, 4, 5]
    assert [one.attempts for one in queues.dead()] == [3]


def test_an_ordered_message_that_fails_keeps_its_turn(engine: Engine, sender: Sender):
    done, tries = [], []

    def work(messages: list[dramatiq.Message]) -> None:
        for message in messages:
            n = message.kwargs["message"]["n"]
            if n == 1 and len(tries) < 2:
                tries.append(n)
                raise BatchFailed(
                    {m.message_id: RuntimeError("not yet") for m in messages if m.kwargs["message"]["n"] >= 1}
                )
            done.append(n)

    with working(engine, actor("lane", work, queue="lane", batch=3, ordered=True, backoff=AT_ONCE)) as broker:
        sender.send([post("lane", n, queue="lane") for n in range(9)])
        broker.join("lane", timeout=10_000)

    assert done == list(range(9))


def test_a_graceful_stop_hands_back_what_nobody_has_begun(engine: Engine, sender: Sender, queues: Queues):
    begun, go, ran = threading.Semaphore(0), threading.Event(), []

    def work(message: dict) -> None:
        begun.release()
        go.wait()
        ran.append(message["n"])

    sender.send([post("note", n, id=f"m{n}") for n in range(20)])
    broker = ValkeyBroker(engine.url, prefix="br")
    actor("note", work)(broker)
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    begun.acquire()
    begun.acquire()
    stopping = threading.Thread(target=worker.stop)
    stopping.start()

    until(lambda: queues.depths()["work"].ready == 18)
    go.set()
    stopping.join()
    broker.close()

    assert sorted(ran) == [0, 1]
    assert queues.depths()["work"].inflight == 0
    assert queues.workers() == []
    with engine.client() as client:
        assert client.lrange("{br}:line:work:2", 0, -1) == [f"m{n}".encode() for n in range(2, 20)]


def test_a_job_that_takes_too_long_is_cut_and_tried_again(engine: Engine, sender: Sender):
    tries = []

    def work(message: dict) -> None:
        tries.append(1)
        while len(tries) == 1:
            time.sleep(0.001)

    declare = actor("note", work, time_limit=50, backoff=AT_ONCE)
    with working(engine, declare) as broker:
        broker.emit_after("process_boot")
        sender.send([post("note")])
        broker.join("work", timeout=10_000)

    assert len(tries) == 2
    assert issubclass(TimeLimitExceeded, BaseException)


def test_a_message_past_its_age_is_dead(engine: Engine, sender: Sender, queues: Queues):
    declare = actor("note", print, max_age=1)
    with working(engine, declare) as broker:
        sender.send([post("note", id="m1", delay=timedelta(milliseconds=20))])
        broker.join("work", timeout=5000)

    assert any(isinstance(one, AgeLimit) for one in broker.middleware)
    assert queues.find("m1")[0] == "dead"


def test_an_idle_worker_asks_a_few_times_a_second(engine: Engine):
    def asked() -> int:
        with engine.client() as client:
            stats = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "blpop"))

    declared = [actor(f"job{n}", print, queue=f"queue{n}") for n in range(10)]
    with working(engine, *declared, lease=timedelta(seconds=15)):
        until(lambda: asked() > 12)
        before, begun = asked(), time.monotonic()
        until(lambda: time.monotonic() - begun > 3)
        rate = (asked() - before) / (time.monotonic() - begun)

    assert rate < 4


def test_workers_and_depths_can_be_seen(engine: Engine, sender: Sender, queues: Queues):
    begun, go = threading.Event(), threading.Event()

    def work(message: dict) -> None:
        begun.set()
        go.wait()

    with working(engine, actor("note", work), threads=1, worker_name="anna"):
        sender.send([post("note", id="m1")])
        begun.wait()
        sender.send([post("later", queue="other", delay=timedelta(hours=1)), post("now", queue="other")])
        depths, (worker,) = queues.depths(), queues.workers()
        running_now = queues.find("m1")[0]
        refused = queues.discard("m1")
        go.set()

    assert (depths["work"].ready, depths["work"].inflight) == (0, 1)
    assert (depths["other"].ready, depths["other"].delayed) == (1, 1)
    assert depths["other"].oldest < timedelta(seconds=30)
    assert worker.name.startswith("anna.")
    assert worker.holds == 1
    assert running_now == "running"
    assert not refused


def test_the_engines_durability_is_checked(engine: Engine):
    assert check_valkey(engine.url, prefix="br").state == "ok"

    with engine.client() as client:
        client.config_set("appendfsync", "everysec")
        one_second = check_valkey(engine.url, prefix="br")
        client.config_set("maxmemory-policy", "allkeys-lru")
        would_evict = check_valkey(engine.url, prefix="br")

    assert (one_second.state, would_evict.state) == ("doubtful", "doubtful")
    assert "appendfsync everysec" in one_second.found
    assert "allkeys-lru" in would_evict.found


def test_a_full_engine_can_still_be_emptied(engine: Engine, sender: Sender, queues: Queues):
    ran = []

    def work(message: dict) -> None:
        ran.append(message["n"])
        if len(ran) == 1:
            raise RuntimeError("once")

    sender.send([post("note", n) for n in range(50)])
    with engine.client() as client:
        client.config_set("maxmemory", "1")
    with pytest.raises((QueueAway, Full)):
        sender.send([post("note")])

    with working(engine, actor("note", work, backoff=AT_ONCE)) as broker:
        broker.join("work", timeout=10_000)

    assert sorted(set(ran)) == list(range(50))
    assert queues.dead() == []
