"""A group calls back once, when the last of its members is done: each is counted in the step that settles it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
from dramatiq import group, pipeline
from dramatiq.middleware import GroupCallbacks, Middleware
from dramatiq.rate_limits import Barrier
from dramatiq.rate_limits.backends import RedisBackend

from backroom.queue.broker import ValkeyBroker
from backroom.queue.decide import BatchFailed
from backroom.queue.ops import Queues
from tests.integration.queue_engine import Engine, until

SOON = 20_000


@pytest.fixture
def ran() -> Counter[str]:
    """How often each job has run, or each value was seen."""
    return Counter()


@pytest.fixture
def broker(broker: ValkeyBroker, ran: Counter[str]) -> ValkeyBroker:
    """One with groups, and a job to call back."""
    broker.add_middleware(GroupCallbacks(RedisBackend(client=broker.client)))
    dramatiq.actor(lambda: ran.update(["complete"]), broker=broker, actor_name="complete")
    return broker


def message(job: str, *args: Any, queue: str = "default", id: str | None = None) -> dramatiq.Message[Any]:
    more = {} if id is None else {"message_id": id}
    return dramatiq.Message(queue_name=queue, actor_name=job, args=args, kwargs={}, options={}, **more)


def run(broker: ValkeyBroker, *members: Any, callback: dramatiq.Message[Any] | None = None) -> None:
    """Run a group."""
    together = group(members, broker=broker)
    together.add_completion_callback(callback or message("complete"))
    together.run()


@contextmanager
def at_work(broker: ValkeyBroker) -> Iterator[None]:
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=4)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def counts(engine: Engine) -> set[str]:
    return {key for key in engine.all_keys() if "group:" in key}


def test_a_member_that_is_tried_again_counts_once(engine: Engine, broker: ValkeyBroker, ran: Counter[str]):
    @dramatiq.actor(broker=broker, min_backoff=1, max_backoff=2)
    def work(name: str) -> None:
        ran[name] += 1
        if name == "twice" and ran[name] == 1:
            raise RuntimeError("no")

    with at_work(broker):
        run(broker, work.message("twice"), work.message("once"))
        broker.join("default", timeout=SOON)

    assert ran == {"twice": 2, "once": 1, "complete": 1}
    assert not counts(engine)


def test_a_group_waits_for_a_member_that_has_died_until_somebody_retries_it(
    broker: ValkeyBroker, queues: Queues, ran: Counter[str]
):
    @dramatiq.actor(broker=broker, max_retries=0)
    def work(name: str) -> None:
        ran[name] += 1
        if name == "ill" and ran[name] == 1:
            raise RuntimeError("no")

    with at_work(broker):
        run(broker, work.message("ill"), work.message("well"))
        broker.join("default", timeout=SOON)
        assert ran["complete"] == 0
        (dead,) = queues.dead()
        assert queues.retry(dead.id)
        until(lambda: ran["complete"])
        broker.join("default", timeout=SOON)

    assert ran == {"ill": 2, "well": 1, "complete": 1}


def test_the_same_message_counts_as_often_as_it_is_in_the_group(broker: ValkeyBroker, ran: Counter[str]):
    work = dramatiq.actor(lambda: ran.update(["work"]), broker=broker, actor_name="work").message()
    with at_work(broker):
        run(broker, work, work, work)
        broker.join("default", timeout=SOON)

    assert ran == {"work": 3, "complete": 1}


def test_a_pipeline_counts_with_its_last_step(broker: ValkeyBroker, ran: Counter[str]):
    @dramatiq.actor(broker=broker, pipe_ignore=True)
    def step(name: str) -> None:
        assert not ran["complete"]
        ran[name] += 1

    with at_work(broker):
        run(broker, pipeline([step.message("first"), step.message("last")], broker=broker), step.message("alone"))
        broker.join("default", timeout=SOON)

    assert ran == {"first": 1, "last": 1, "alone": 1, "complete": 1}


def test_members_of_a_batch_count_one_by_one(engine: Engine, broker: ValkeyBroker, ran: Counter[str]):
    @dramatiq.actor(broker=broker, queue_name="batches", batch=10, linger_ms=200, attempts=1)
    def work(messages: list[dramatiq.Message[Any]]) -> None:
        ran.update(one.args[0] for one in messages)
        bad = {one.message_id: RuntimeError("no") for one in messages if one.args[0] == "ill"}
        if bad:
            raise BatchFailed(bad)

    run(broker, *(work.message(f"well{n}") for n in range(3)))
    run(broker, work.message("well3"), work.message("ill"))
    with at_work(broker):
        broker.join("batches", timeout=SOON)
        broker.join("default", timeout=SOON)

    assert ran["complete"] == 1
    # The other group waits for a dead letter.
    assert len(counts(engine)) == 1


def test_a_member_that_is_put_back_counts_when_it_is_done(broker: ValkeyBroker, ran: Counter[str]):
    @dramatiq.actor(broker=broker)
    def work() -> None:
        ran["work"] += 1
        assert not ran["complete"]
        if ran["work"] < 3:
            broker.enqueue(dramatiq.middleware.CurrentMessage.get_current_message(), delay=1)

    with at_work(broker):
        run(broker, work.message())
        broker.join("default", timeout=SOON)

    assert ran == {"work": 3, "complete": 1}


def test_a_callback_that_cannot_be_sent_makes_a_dead_letter_of_the_member(broker: ValkeyBroker, queues: Queues):
    work = dramatiq.actor(lambda: None, broker=broker, actor_name="work", max_retries=0)
    with at_work(broker):
        run(broker, work.message(), callback=message("complete", queue="no such name"))
        broker.join("default", timeout=SOON)

    (dead,) = queues.dead()
    assert "what follows could not be enqueued" in dead.reason


def test_a_callback_with_an_id_of_the_programs_own_runs_once_however_often_its_group_does(
    broker: ValkeyBroker, ran: Counter[str]
):
    work = dramatiq.actor(lambda: ran.update(["work"]), broker=broker, actor_name="work")
    with at_work(broker):
        for _ in range(2):
            run(broker, work.message(), callback=message("complete", id="order-42"))
            broker.join("default", timeout=SOON)

    assert ran == {"work": 2, "complete": 1}


def test_every_member_prepares_the_callback_and_one_tells_of_it(broker: ValkeyBroker):
    heard: Counter[str] = Counter()
    seen = []

    class Mark(Middleware):
        def before_enqueue(self, _broker: object, message: Any, _delay: object) -> None:
            message.options["mark"] = "m1"

        def after_enqueue(self, _broker: object, message: Any, _delay: object) -> None:
            heard[message.actor_name] += 1

    broker.add_middleware(Mark())

    @dramatiq.actor(broker=broker)
    def look() -> None:
        seen.append(dramatiq.middleware.CurrentMessage.get_current_message().options["mark"])

    work = dramatiq.actor(lambda: None, broker=broker, actor_name="work", queue_name="one", ordered=True)
    with at_work(broker):
        run(broker, work.message(), work.message(), callback=message("look"))
        broker.join("one", timeout=SOON)
        broker.join("default", timeout=SOON)

    assert seen == ["m1"]
    assert heard == {"work": 2, "look": 1}


def test_a_group_that_was_begun_elsewhere_is_counted_there(broker: ValkeyBroker, ran: Counter[str]):
    there = Barrier(RedisBackend(client=broker.client), "elsewhere", ttl=SOON)
    assert there.create(parties=2)
    options = {"group_completion_uuid": "elsewhere", "group_completion_callbacks": [message("complete").asdict()]}
    work = dramatiq.actor(lambda: ran.update(["work"]), broker=broker, actor_name="work")
    with at_work(broker):
        for times in (1, 2):
            broker.enqueue(work.message().copy(options=options))
            broker.join("default", timeout=SOON)
            assert ran == Counter({"work": times, "complete": times - 1})


def test_middleware_of_the_programs_own_kind_is_left_as_it_is(broker: ValkeyBroker):
    class Special(GroupCallbacks):
        pass

    special = Special(RedisBackend(client=broker.client))
    broker.add_middleware(special)

    assert broker.middleware[-1] is special
