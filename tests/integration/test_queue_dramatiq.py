"""A Dramatiq program runs on our broker when only its broker line changes: options, middleware, results, limits."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.errors import ActorNotFound, QueueJoinTimeout, RateLimitExceeded
from dramatiq.middleware import (
    AsyncIO,
    CurrentMessage,
    Middleware,
    Retries,
    Shutdown,
    SkipMessage,
    TimeLimit,
    TimeLimitExceeded,
    default_middleware,
)
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimitsInValkey
from dramatiq.results import ResultFailure, Results, ResultTimeout
from dramatiq.results.backends import RedisBackend as ResultsInValkey
from structlog.testing import capture_logs

from backroom.domain.errors import Invalid
from backroom.queue.broker import ValkeyBroker
from backroom.queue.ops import Queues
from tests.integration.queue_engine import Engine, running, until

SOON = 20_000
GEVENT_PROGRAM = Path(__file__).with_name("queue_gevent_program.py")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def engine(shared: Engine) -> Engine:
    with shared.client() as client:
        client.flushall()
    return shared


@pytest.fixture
def broker(engine: Engine) -> Iterator[ValkeyBroker]:
    broker = ValkeyBroker(engine.url, prefix=engine.prefix)
    broker.emit_after("process_boot")
    yield broker
    broker.close()


@contextmanager
def at_work(broker: ValkeyBroker, threads: int = 4, **options: Any) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=threads, **options)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


# -- the middleware that is in place


def test_every_middleware_that_dramatiq_has_by_default_is_in_place_and_in_its_order(broker: ValkeyBroker):
    ours = broker.middleware[: len(default_middleware)]

    assert [isinstance(one, stock) for one, stock in zip(ours, default_middleware, strict=True)] == [True] * len(ours)
    assert any(isinstance(one, CurrentMessage) for one in broker.middleware)


def test_a_broker_that_is_given_no_middleware_has_none(engine: Engine):
    broker = ValkeyBroker(engine.url, prefix="br", middleware=[])

    assert broker.middleware == []


def test_middleware_is_added_before_and_after_a_stock_one(broker: ValkeyBroker):
    first, second = Middleware(), Middleware()
    broker.add_middleware(first, before=TimeLimit)
    broker.add_middleware(second, after=Retries)

    kinds = [type(one).__mro__ for one in broker.middleware]
    assert TimeLimit in kinds[broker.middleware.index(first) + 1]
    assert Retries in kinds[broker.middleware.index(second) - 1]


# -- options of actors and messages


def test_a_failing_actor_is_tried_as_often_as_its_retries_say_and_then_told_on(broker: ValkeyBroker, queues: Queues):
    tries, told = [], []

    @dramatiq.actor(broker=broker, max_retries=2, min_backoff=1, max_backoff=2, on_retry_exhausted="tell")
    def fail() -> None:
        tries.append(1)
        raise RuntimeError("no")

    @dramatiq.actor(broker=broker, actor_name="tell")
    def tell(message: dict[str, Any], retries: dict[str, int]) -> None:
        told.append((message["actor_name"], retries))

    with at_work(broker):
        fail.send()
        broker.join("default", timeout=SOON)

    assert len(tries) == 3
    assert told == [("fail", {"retries": 2, "max_retries": 2})]
    assert [dead.job for dead in queues.dead()] == ["fail"]


def test_a_message_may_ask_for_other_retries_than_its_actor(broker: ValkeyBroker):
    tries = []

    @dramatiq.actor(broker=broker, max_retries=50, min_backoff=60_000)
    def fail() -> None:
        tries.append(1)
        raise RuntimeError("no")

    with at_work(broker):
        fail.send_with_options(max_retries=1, min_backoff=1, max_backoff=2)
        broker.join("default", timeout=SOON)

    assert len(tries) == 2


def test_retry_when_decides_and_throws_ends(broker: ValkeyBroker, queues: Queues):
    tries = []

    @dramatiq.actor(broker=broker, retry_when=lambda retries, _error: retries < 1, min_backoff=1, max_backoff=2)
    def once_more() -> None:
        tries.append("once_more")
        raise RuntimeError("no")

    @dramatiq.actor(broker=broker, throws=ValueError)
    def never_more() -> None:
        tries.append("never_more")
        raise ValueError("no")

    with at_work(broker):
        once_more.send()
        never_more.send()
        broker.join("default", timeout=SOON)

    assert sorted(tries) == ["never_more", "once_more", "once_more"]
    assert {dead.job for dead in queues.dead()} == {"never_more", "once_more"}


def test_a_retry_that_an_actor_asks_for_waits_as_long_as_it_says(broker: ValkeyBroker):
    tries = []

    @dramatiq.actor(broker=broker, max_retries=1)
    def later() -> None:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise dramatiq.errors.Retry(delay=300)

    with at_work(broker):
        later.send()
        broker.join("default", timeout=SOON)

    assert tries[1] - tries[0] >= 0.3


def test_an_idle_worker_takes_a_retry_when_it_is_due_and_not_when_its_wait_ends(broker: ValkeyBroker):
    late = []

    @dramatiq.actor(broker=broker, max_retries=8)
    def later() -> None:
        raise dramatiq.errors.Retry(delay=100)

    last: list[float] = []

    class Stamp(Middleware):
        def before_process_message(self, _broker: object, _message: object) -> None:
            if last:
                late.append(time.monotonic() - last.pop() - 0.1)

        def after_process_message(self, _broker: object, _message: object, **_outcome: object) -> None:
            last.append(time.monotonic())

    broker.add_middleware(Stamp())
    later.send()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    # An idle worker waits for a second at a time.
    assert sorted(late)[len(late) // 2] < 0.5


def test_an_actor_with_attempts_of_ours_keeps_them_beside_stock_retries(broker: ValkeyBroker, queues: Queues):
    tries = []

    @dramatiq.actor(broker=broker, attempts=1)
    def fail() -> None:
        tries.append(1)
        raise RuntimeError("no")

    with at_work(broker):
        fail.send()
        broker.join("default", timeout=SOON)

    assert len(tries) == 1
    assert [dead.reason for dead in queues.dead()] == ["RuntimeError: no"]


def test_a_message_that_is_too_old_is_not_worked_on(broker: ValkeyBroker, queues: Queues):
    ran = []

    @dramatiq.actor(broker=broker, max_age=1)
    def work() -> None:
        ran.append(1)

    work.send_with_options(delay=50)
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert not ran
    assert [dead.reason for dead in queues.dead()] == ["Message age limit exceeded"]


def test_an_actor_that_takes_too_long_is_cut(broker: ValkeyBroker):
    cut = []

    @dramatiq.actor(broker=broker, time_limit=10, max_retries=0)
    def work() -> None:
        try:
            until(lambda: False)
        except TimeLimitExceeded:
            cut.append(1)
            raise

    with at_work(broker):
        work.send()
        broker.join("default", timeout=SOON)

    assert cut == [1]


def test_an_actor_that_wants_to_know_is_told_of_the_stop(broker: ValkeyBroker):
    begun, told = threading.Event(), []

    @dramatiq.actor(broker=broker, notify_shutdown=True, max_retries=0)
    def work() -> None:
        begun.set()
        try:
            until(lambda: False)
        except Shutdown:
            told.append(1)
            raise

    with at_work(broker):
        work.send()
        assert begun.wait(10)

    assert told == [1]


def test_what_is_urgent_goes_first_of_what_was_fetched_together(broker: ValkeyBroker):
    ran = []

    @dramatiq.actor(broker=broker, priority=10)
    def low() -> None:
        ran.append("low")

    @dramatiq.actor(broker=broker, priority=0)
    def high() -> None:
        ran.append("high")

    for _ in range(2):
        low.send()
        high.send()
    # One thread fetches four messages at once when its prefetch is four.
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.queue_prefetch = 4
    worker.start()
    broker.join("default", timeout=SOON)
    worker.stop()

    assert ran == ["high", "high", "low", "low"]


def test_an_eta_that_is_no_number_is_told_and_an_infinite_one_waits(broker: ValkeyBroker, queues: Queues):
    ran = []
    work = dramatiq.actor(ran.append, broker=broker, actor_name="work")
    with at_work(broker), capture_logs() as logs:
        work.send_with_options(args=(1,), eta=float("inf"))
        work.send_with_options(args=(2,), eta="tomorrow")
        until(lambda: ran == [2])

    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["message.eta_ignored"]
    assert queues.depths()["default"].delayed == 1


def test_a_message_with_an_eta_waits_in_the_engine(broker: ValkeyBroker, queues: Queues):
    ran = []

    @dramatiq.actor(broker=broker)
    def work(n: int) -> None:
        ran.append(n)

    with at_work(broker):
        work.send_with_options(args=(1,), eta=int(time.time() * 1000) + 300)
        work.send_with_options(args=(2,), eta=None)
        assert queues.depths()["default"].delayed == 1
        broker.join("default", timeout=SOON)

    assert ran == [2, 1]


# -- hooks


def test_a_hook_that_fails_changes_nothing(broker: ValkeyBroker):
    ran = []

    class Broken(Middleware):
        def before_process_message(self, _broker: object, _message: object) -> None:
            raise RuntimeError("before")

        def after_process_message(self, _broker: object, _message: object, **_outcome: object) -> None:
            raise RuntimeError("after")

    broker.add_middleware(Broken())
    dramatiq.actor(lambda: ran.append(1), broker=broker, actor_name="work").send()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert ran == [1]


def test_a_message_that_is_put_back_and_skipped_is_not_lost(broker: ValkeyBroker):
    ran, skipped = [], []

    class NotYet(Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
            if not skipped:
                skipped.append(1)
                broker.enqueue(message.copy(), delay=10)
                raise SkipMessage("not yet")

    broker.add_middleware(NotYet())
    dramatiq.actor(lambda: ran.append(1), broker=broker, actor_name="work").send()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert (skipped, ran) == ([1], [1])


def test_a_message_that_puts_itself_back_runs_again(broker: ValkeyBroker):
    ran = []

    @dramatiq.actor(broker=broker)
    def work() -> None:
        ran.append(1)
        if len(ran) < 3:
            broker.enqueue(CurrentMessage.get_current_message(), delay=1)

    work.send()
    with at_work(broker):
        broker.join("default", timeout=SOON)

    assert len(ran) == 3


def test_a_hook_hears_of_every_enqueue_retry_and_dead_letter(broker: ValkeyBroker):
    heard = []

    # What Dramatiq's own Prometheus middleware counts by.
    class Count(Middleware):
        def after_enqueue(self, _broker: object, message: Any, _delay: object) -> None:
            heard.append("retry" if "retries" in message.options else "enqueue")

        def after_process_message(self, _broker: object, _message: object, **outcome: object) -> None:
            heard.append("error" if outcome.get("exception") else "success")

        def after_nack(self, _broker: object, _message: object) -> None:
            heard.append("dead")

    broker.add_middleware(Count())

    @dramatiq.actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=2)
    def fail() -> None:
        raise RuntimeError("no")

    with at_work(broker):
        fail.send()
        broker.join("default", timeout=SOON)

    assert heard == ["enqueue", "error", "retry", "error", "dead"]


# -- results


def test_results_and_errors_are_stored(broker: ValkeyBroker):
    backend = ResultsInValkey(client=broker.client)
    broker.add_middleware(Results(backend=backend))

    @dramatiq.actor(broker=broker, store_results=True)
    def add(x: int, y: int) -> int:
        return x + y

    @dramatiq.actor(broker=broker, store_results=True, max_retries=0)
    def fail() -> None:
        raise ValueError("no")

    with at_work(broker):
        assert add.send(1, 2).get_result(backend=backend, block=True, timeout=SOON) == 3
        with pytest.raises(ResultFailure, match="no"):
            fail.send().get_result(backend=backend, block=True, timeout=SOON)


def test_a_result_may_take_longer_than_a_socket_waits(broker: ValkeyBroker, engine: Engine):
    backend = ResultsInValkey(url=engine.url + "?socket_timeout=0.5")
    broker.add_middleware(Results(backend=backend))
    go = threading.Event()

    @dramatiq.actor(broker=broker, store_results=True)
    def slow() -> int:
        assert go.wait(20)
        return 7

    with at_work(broker):
        message = slow.send()
        with pytest.raises(ResultTimeout):
            message.get_result(backend=backend, block=True, timeout=1_200)
        go.set()
        assert message.get_result(backend=backend, block=True, timeout=SOON) == 7


# -- limits


def test_rate_limiters_let_through_what_they_should(broker: ValkeyBroker):
    limits = LimitsInValkey(client=broker.client)
    one_at_a_time = ConcurrentRateLimiter(limits, "one", limit=1)
    with one_at_a_time.acquire():
        with one_at_a_time.acquire(raise_on_failure=False) as acquired:
            assert not acquired
        with pytest.raises(RateLimitExceeded), one_at_a_time.acquire():
            pass

    for limiter in (BucketRateLimiter(limits, "bucket", limit=2), WindowRateLimiter(limits, "window", limit=2)):
        let_through = 0
        for _ in range(3):
            with limiter.acquire(raise_on_failure=False) as acquired:
                let_through += acquired
        assert let_through == 2


def test_an_actor_over_its_limit_comes_again(broker: ValkeyBroker):
    limits = LimitsInValkey(client=broker.client)
    ran = []

    @dramatiq.actor(broker=broker, min_backoff=1, max_backoff=20, max_retries=None)
    def work() -> None:
        with ConcurrentRateLimiter(limits, "work", limit=1).acquire():
            ran.append(1)

    with at_work(broker, threads=8):
        for _ in range(20):
            work.send()
        broker.join("default", timeout=SOON)

    assert len(ran) == 20


def test_a_barrier_opens_for_the_last(broker: ValkeyBroker):
    barrier = Barrier(LimitsInValkey(client=broker.client), "barrier", ttl=SOON)
    assert barrier.create(parties=2)

    assert [barrier.wait(block=False), barrier.wait(block=False)] == [False, True]


# -- async actors


def test_async_actors_run_and_know_their_message(broker: ValkeyBroker):
    broker.add_middleware(AsyncIO())
    seen = []

    @dramatiq.actor(broker=broker)
    async def work(n: int) -> None:
        seen.append((n, CurrentMessage.get_current_message().message_id))

    with at_work(broker):
        sent = [work.send(n) for n in range(3)]
        broker.join("default", timeout=SOON)

    assert sorted(seen) == [(n, message.message_id) for n, message in enumerate(sent)]


# -- the worker, join and flush


def test_a_paused_worker_takes_nothing_and_a_resumed_one_goes_on(broker: ValkeyBroker):
    ran = []

    @dramatiq.actor(broker=broker)
    def work(n: int) -> None:
        ran.append(n)

    with at_work(broker) as worker:
        work.send(1)
        broker.join("default", timeout=SOON)
        worker.pause()
        work.send(2)
        with pytest.raises(QueueJoinTimeout):
            broker.join("default", timeout=300)
        assert ran == [1]
        worker.resume()
        broker.join("default", timeout=SOON)
        worker.join()

    assert ran == [1, 2]


def test_what_a_worker_holds_goes_by_priority_whenever_it_was_fetched(broker: ValkeyBroker):
    ran, begun, go = [], threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker)
    def hold() -> None:
        begun.set()
        assert go.wait(20)

    for name, priority in {"soon": 0, "late": 10, "now": -1, "later": 20}.items():
        dramatiq.actor(lambda n, name=name: ran.append((name, n)), broker=broker, actor_name=name, priority=priority)

    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.queue_prefetch = 20
    worker.start()
    hold.send()
    assert begun.wait(20)
    for n in range(3):
        for name in ("later", "soon", "late", "now"):
            broker.get_actor(name).send(n)
            sent = 4 * n + ["later", "soon", "late", "now"].index(name) + 1
            until(lambda sent=sent: worker.work_queue.qsize() == sent)
    go.set()
    broker.join("default", timeout=SOON)
    worker.stop()

    assert ran == [(name, n) for name in ("now", "soon", "late", "later") for n in range(3)]


def test_two_workers_share_the_queues_of_one_broker_and_one_may_stop(broker: ValkeyBroker):
    ran = []

    @dramatiq.actor(broker=broker)
    def work(n: int) -> None:
        ran.append(n)

    with at_work(broker):
        with at_work(broker):
            for n in range(50):
                work.send(n)
            broker.join("default", timeout=SOON)
        work.send(50)
        broker.join("default", timeout=SOON)

    assert sorted(ran) == list(range(51))


def test_join_gives_up_and_says_what_a_message_has_died_of(broker: ValkeyBroker):
    go = threading.Event()

    @dramatiq.actor(broker=broker, max_retries=0)
    def fail() -> None:
        assert go.wait(20)
        raise ValueError("no")

    with at_work(broker):
        fail.send()
        with pytest.raises(QueueJoinTimeout):
            broker.join("default", timeout=50)
        threading.Timer(0.1, go.set).start()
        with pytest.raises(ValueError, match="no"):
            broker.join("default", timeout=SOON, fail_fast=True)


def test_join_says_what_a_message_has_died_of_before_it_looked(broker: ValkeyBroker, queues: Queues):
    @dramatiq.actor(broker=broker, max_retries=0)
    def fail() -> None:
        raise ValueError("no")

    with at_work(broker):
        for times in (1, 2):
            fail.send()
            until(lambda times=times: len(list(queues.dead())) == times)
            with pytest.raises(ValueError, match="no"):
                broker.join("default", timeout=SOON, fail_fast=True)
            # Once is enough.
            broker.join("default", timeout=SOON, fail_fast=True)
        fail.send()
        broker.join("default", timeout=SOON)
        broker.join("default", timeout=SOON, fail_fast=True)


def test_an_unknown_actor_waits_unless_the_program_wants_it_dead_at_once(engine: Engine, queues: Queues):
    rejected = []

    class Listen(Middleware):
        def after_nack(self, _broker: object, message: Any) -> None:
            rejected.append(message.message_id)

    broker = ValkeyBroker(engine.url, prefix=engine.prefix, parked=timedelta(0))
    broker.add_middleware(Listen())
    broker.declare_queue("default")
    with at_work(broker):
        sent = broker.enqueue(
            dramatiq.Message(queue_name="default", actor_name="unheard_of", args=(), kwargs={}, options={})
        )
        with pytest.raises(ActorNotFound, match="unheard_of"):
            broker.join("default", timeout=SOON, fail_fast=True)
    broker.close()

    assert rejected == [dead.id for dead in queues.dead()] == [sent.message_id]


def test_no_error_is_kept_of_a_message_that_somebody_else_has_sent(
    engine: Engine, broker: ValkeyBroker, caplog: pytest.LogCaptureFixture
):
    # What is logged is kept by the test's own log.
    caplog.set_level(logging.CRITICAL)

    class Heavy(Exception):
        pass

    def fail() -> None:
        heavy = Heavy("no")
        seen.append(weakref.ref(heavy))
        raise heavy

    seen: list[weakref.ref[Heavy]] = []
    dramatiq.actor(fail, broker=broker, actor_name="fail", max_retries=0)
    other = ValkeyBroker(engine.url, prefix=engine.prefix)
    with at_work(broker):
        other.enqueue(dramatiq.Message(queue_name="default", actor_name="fail", args=(), kwargs={}, options={}))
        other.join("default", timeout=SOON)
    other.close()
    gc.collect()

    assert [one() for one in seen] == [None]


def test_flush_drops_what_waits(broker: ValkeyBroker, queues: Queues):
    @dramatiq.actor(broker=broker)
    def work() -> None:
        raise AssertionError

    work.send()
    work.send_with_options(delay=60_000)
    broker.flush_all()
    broker.join("default", timeout=200)

    assert (queues.depths()["default"].ready, queues.depths()["default"].delayed) == (0, 0)


def test_a_queue_that_cannot_be_a_key_is_refused(broker: ValkeyBroker):
    for name in ("a|b", "ümlaut", "a b", "x" * 101, ""):
        with pytest.raises(Invalid, match="queue"):
            broker.declare_queue(name)
        with pytest.raises(Invalid, match="queue"):
            broker.enqueue(dramatiq.Message(queue_name=name, actor_name="work", args=(), kwargs={}, options={}))


def test_a_queue_that_is_declared_elsewhere_takes_messages(engine: Engine, broker: ValkeyBroker):
    ran = []
    other = ValkeyBroker(engine.url, prefix=engine.prefix)
    other.enqueue(dramatiq.Message(queue_name="elsewhere", actor_name="work", args=(1,), kwargs={}, options={}))
    other.close()

    dramatiq.actor(ran.append, broker=broker, actor_name="work", queue_name="elsewhere")
    with at_work(broker):
        broker.join("elsewhere", timeout=SOON)

    assert ran == [1]


# -- greenlets


def test_a_program_whose_threads_are_greenlets_runs_as_it_is(engine: Engine):
    told = subprocess.run(
        [sys.executable, str(GEVENT_PROGRAM), engine.url],
        env={**os.environ, "PYTHONPATH": str(GEVENT_PROGRAM.parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert told.stdout.split() == ["cut", "tried", "tried", *["waited"] * 30], told.stderr
