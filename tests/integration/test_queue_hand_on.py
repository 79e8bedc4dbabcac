"""What follows from a message is enqueued if and only if the message is settled: pipelines, callbacks, groups."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq import group, pipeline
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import GroupCallbacks, Middleware
from dramatiq.rate_limits.backends import RedisBackend as LimitsInValkey
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultsInValkey

from backroom.queue.broker import ValkeyBroker
from backroom.queue.ops import Queues
from tests.integration.queue_engine import Engine, running, until

SOON = 20_000


@contextmanager
def at_work(*brokers: ValkeyBroker) -> Iterator[None]:
    workers = [dramatiq.Worker(broker, worker_timeout=100, worker_threads=4) for broker in brokers]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()


def in_reason(queues: Queues) -> dict[str, str]:
    return {dead.job: dead.reason for dead in queues.dead()}


# -- stock compositions


def test_a_pipeline_passes_results_on_and_may_be_run_again(broker: ValkeyBroker):
    backend = ResultsInValkey(client=broker.client)
    broker.add_middleware(Results(backend=backend))

    @dramatiq.actor(broker=broker, store_results=True)
    def add(x: int, y: int) -> int:
        return x + y

    steps = [add.message(1, 2), add.message(3), add.message_with_options(args=(4, 5), pipe_ignore=True)]
    pipe = pipeline(steps, broker=broker)
    with at_work(broker):
        for _ in range(2):
            pipe.run()
            assert list(pipe.get_results(block=True, timeout=SOON)) == [3, 6, 9]
            broker.join("default", timeout=SOON)
            broker.client.delete(*map(backend.build_message_key, pipe.messages))


def test_a_step_of_a_pipeline_waits_as_long_as_it_says(broker: ValkeyBroker, queues: Queues):
    ran = []

    @dramatiq.actor(broker=broker, pipe_ignore=True)
    def first() -> None:
        ran.append("first")

    @dramatiq.actor(broker=broker, queue_name="second")
    def second() -> None:
        ran.append("second")

    pipeline([first.message(), second.message_with_options(delay=300)], broker=broker).run()
    with at_work(broker):
        broker.join("default", timeout=SOON)
        assert queues.depths()["second"].delayed == 1
        broker.join("second", timeout=SOON)

    assert ran == ["first", "second"]


def test_a_group_has_results_and_calls_back_once_when_its_last_member_is_done(broker: ValkeyBroker):
    backend = ResultsInValkey(client=broker.client)
    broker.add_middleware(Results(backend=backend))
    broker.add_middleware(GroupCallbacks(LimitsInValkey(client=broker.client)))
    ran: Counter[str] = Counter()

    @dramatiq.actor(broker=broker, store_results=True)
    def work(n: int) -> int:
        ran["work"] += 1
        return n

    @dramatiq.actor(broker=broker)
    def complete() -> None:
        ran["complete"] += 1

    members = group([work.message(n) for n in range(5)], broker=broker)
    members.add_completion_callback(complete.message())
    with at_work(broker):
        for times in (1, 2):
            members.run()
            assert sorted(members.get_results(block=True, timeout=SOON)) == [0, 1, 2, 3, 4]
            until(lambda times=times: ran["complete"] == times)
            broker.join("default", timeout=SOON)

    assert ran == {"work": 10, "complete": 2}


def test_callbacks_are_sent_on_success_and_on_each_failure(broker: ValkeyBroker):
    heard = []

    @dramatiq.actor(broker=broker, on_success="well", on_failure="ill", max_retries=1, min_backoff=1, max_backoff=2)
    def work(fate: str) -> int:
        if fate == "ill":
            raise ValueError("no")
        return 7

    @dramatiq.actor(broker=broker)
    def well(message: dict[str, Any], result: int) -> None:
        heard.append(("well", message["actor_name"], result))

    @dramatiq.actor(broker=broker)
    def ill(message: dict[str, Any], error: dict[str, str]) -> None:
        heard.append(("ill", message["actor_name"], error["type"]))

    with at_work(broker):
        work.send("well")
        broker.join("default", timeout=SOON)
        work.send("ill")
        broker.join("default", timeout=SOON)

    assert heard == [("well", "work", 7), ("ill", "work", "ValueError"), ("ill", "work", "ValueError")]


# -- nothing is lost, nothing is doubled


def test_nothing_follows_from_a_message_that_is_not_settled(engine: Engine, broker: ValkeyBroker, queues: Queues):
    ran = []

    @dramatiq.actor(broker=broker, pipe_ignore=True)
    def first() -> None:
        ran.append("first")

    @dramatiq.actor(broker=broker, queue_name="second")
    def second() -> None:
        ran.append("second")

    pipeline([first.message(), second.message()], broker=broker).run()
    consumer = broker.consume("default", timeout=5000)
    delivery = next(consumer)
    broker.emit_before("process_message", delivery)
    broker.emit_after("process_message", delivery, result=None)
    assert [len(order.posts) for order in delivery.orders()] == [1]
    assert "second" not in queues.depths()

    # It dies here, and somebody else begins anew.
    consumer.close()
    with at_work(broker):
        broker.join("default", timeout=SOON)
        broker.join("second", timeout=SOON)
    assert ran == ["first", "second"]


def test_what_follows_is_enqueued_once_when_a_worker_dies_just_before_its_acknowledgement(
    broker: ValkeyBroker, queues: Queues
):
    @dramatiq.actor(broker=broker, on_success="second")
    def first() -> None:
        pass

    @dramatiq.actor(broker=broker, queue_name="second")
    def second(message: object, result: object) -> None:
        pass

    def work(*, dies: bool) -> None:
        consumer = broker.consume("default", timeout=5000)
        delivery = next(consumer)
        broker.emit_before("process_message", delivery)
        broker.emit_after("process_message", delivery, result=None)
        if not dies:
            consumer.ack(delivery)
        consumer.close()

    first.send()
    work(dies=True)
    assert "second" not in queues.depths()
    work(dies=False)

    until(lambda: queues.depths()["second"].ready == 1)
    assert queues.depths()["default"].ready == queues.depths()["default"].inflight == 0


def test_what_follows_is_not_lost_when_the_engine_is_away_as_a_message_ends(engine: Engine, broker: ValkeyBroker):
    begun, go, ran = threading.Event(), threading.Event(), []

    @dramatiq.actor(broker=broker, pipe_ignore=True)
    def first() -> None:
        begun.set()
        assert go.wait(20)

    @dramatiq.actor(broker=broker)
    def second() -> None:
        ran.append("second")

    pipeline([first.message(), second.message()], broker=broker).run()
    with at_work(broker):
        assert begun.wait(10)
        engine.kill()
        go.set()
        engine.start()
        broker.join("default", timeout=SOON)

    assert ran == ["second"]


def test_a_result_that_cannot_be_sent_on_makes_a_dead_letter_of_a_message_that_ran_once(
    broker: ValkeyBroker, queues: Queues
):
    ran = []

    @dramatiq.actor(broker=broker)
    def first() -> object:
        ran.append("first")
        return object()

    @dramatiq.actor(broker=broker)
    def second(_value: object) -> None:
        ran.append("second")

    pipeline([first.message(), second.message()], broker=broker).run()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert ran == ["first"]
    assert "its work is done, but what follows could not be enqueued" in in_reason(queues)["first"]


def test_a_callback_that_nobody_knows_makes_a_dead_letter(broker: ValkeyBroker, queues: Queues):
    @dramatiq.actor(broker=broker, on_success="misspelt")
    def work() -> None:
        pass

    work.send()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert "ActorNotFound: misspelt" in in_reason(queues)["work"]


def test_a_message_that_was_skipped_or_has_failed_is_not_done_where_what_follows_is_lost(
    broker: ValkeyBroker, queues: Queues
):
    class Follow(Middleware):
        def after_process_message(self, broker: dramatiq.Broker, _message: object, **_outcome: object) -> None:
            broker.get_actor("misspelt").send()

    lax = ValkeyBroker(broker.client, prefix=broker.prefix, middleware=[Follow()])

    @dramatiq.actor(broker=lax)
    def fail() -> None:
        raise ValueError("no")

    fail.send()
    with at_work(lax):
        lax.join("default", timeout=SOON)

    assert "ActorNotFound: misspelt" in in_reason(queues)["fail"]


def test_what_follows_may_go_to_another_broker_of_the_process_and_waits_for_its_engine(
    engine: Engine, broker: ValkeyBroker, tmp_path: Path
):
    (tmp_path / "other").mkdir()
    ran: Counter[str] = Counter()
    with running(tmp_path / "other") as other_engine:
        other = ValkeyBroker(other_engine.url, prefix="other")

        @dramatiq.actor(broker=other, actor_name="second")
        def second(_message: object, _result: object) -> None:
            ran["second"] += 1

        class Follow(Middleware):
            def after_process_message(
                self, _broker: object, message: Any, *, exception: object = None, **_: Any
            ) -> None:
                if exception is None:
                    second.send(message.asdict(), None)

        broker.add_middleware(Follow())

        @dramatiq.actor(broker=broker, min_backoff=100, max_backoff=200)
        def first() -> None:
            ran["first"] += 1

        other_engine.kill()
        first.send()
        with at_work(broker, other):
            until(lambda: ran["first"] >= 2)
            other_engine.start()
            broker.join("default", timeout=SOON)
            until(lambda: ran["second"] == 1)
        other.close()


# -- one enqueue is one run


def test_a_message_that_is_enqueued_twice_runs_twice_unless_its_id_is_the_programs_own(broker: ValkeyBroker):
    ran: Counter[str] = Counter()

    @dramatiq.actor(broker=broker)
    def work(name: str) -> None:
        ran[name] += 1

    made_up = work.message("made up")
    own = dramatiq.Message("default", "work", ("own",), {}, {}, message_id="order-42")
    for _ in range(3):
        broker.enqueue(made_up)
        broker.enqueue(own)
    with at_work(broker):
        broker.join("default", timeout=SOON)
        broker.enqueue(made_up)
        broker.enqueue(own)
        broker.join("default", timeout=SOON)

    assert ran == {"made up": 4, "own": 1}


def test_a_message_that_runs_again_keeps_the_id_that_the_program_knows(broker: ValkeyBroker):
    backend = ResultsInValkey(client=broker.client)
    broker.add_middleware(Results(backend=backend))
    ids = []

    @dramatiq.actor(broker=broker, store_results=True)
    def work() -> int:
        ids.append(dramatiq.middleware.CurrentMessage.get_current_message().message_id)
        return 7

    message = work.send()
    broker.enqueue(message)
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert ids == [message.message_id] * 2
    assert message.get_result(backend=backend) == 7


def test_an_enqueue_that_failed_may_be_repeated(engine: Engine, broker: ValkeyBroker, queues: Queues):
    dramatiq.actor(lambda: None, broker=broker, actor_name="work")
    message = broker.get_actor("work").message()
    broker.enqueue(message)
    # As after a lost answer: the engine has the message, and the program was told that it may not.
    engine.kill()
    again = broker.get_actor("work").message()
    with pytest.raises(ConnectionClosed):
        broker.enqueue(again)
    engine.start()
    broker.enqueue(again)

    assert queues.depths()["default"].ready == 2
