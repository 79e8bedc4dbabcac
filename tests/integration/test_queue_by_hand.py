"""Brokers without Dramatiq's worker, beside each other, with other encoders, and under Dramatiq's command line."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.encoder import JSONEncoder, PickleEncoder
from dramatiq.errors import QueueNotFound

from backroom.domain.errors import Invalid
from backroom.queue.broker import ValkeyBroker
from backroom.queue.ops import Queues
from tests.integration.queue_engine import Engine, running, until

SOON = 20_000


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
def pickled() -> Iterator[None]:
    dramatiq.set_encoder(PickleEncoder())
    yield
    dramatiq.set_encoder(JSONEncoder())


def run_all(broker: ValkeyBroker, queue: str = "default") -> None:
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=2)
    worker.start()
    broker.join(queue, timeout=SOON)
    worker.stop()


def send(broker: ValkeyBroker, *args: Any, queue: str = "default") -> dramatiq.Message[Any]:
    return broker.enqueue(dramatiq.Message(queue_name=queue, actor_name="work", args=args, kwargs={}, options={}))


# -- consuming by hand


def test_what_is_acknowledged_is_done_and_what_is_refused_is_dead(broker: ValkeyBroker, queues: Queues):
    broker.declare_queue("default")
    sent = [send(broker, n) for n in range(3)]
    consumer = broker.consume("default", prefetch=3, timeout=5000)

    done, refused, failed = (next(consumer) for _ in range(3))
    consumer.ack(done)
    consumer.nack(refused)
    failed.fail()
    failed.stuff_exception(ValueError("no"))
    consumer.nack(failed)

    until(lambda: all(queues.find(message.message_id)[0] in {"done", "dead"} for message in sent))
    assert queues.find(done.message_id)[0] == "done"
    assert {dead.id: dead.reason for dead in queues.dead()} == {refused.message_id: "rejected", failed.message_id: "no"}
    consumer.close()


def test_what_is_requeued_comes_first_again(broker: ValkeyBroker, queues: Queues):
    broker.declare_queue("default")
    first, second = send(broker, 1), send(broker, 2)
    consumer = broker.consume("default", prefetch=2, timeout=5000)

    taken = [next(consumer), next(consumer)]
    consumer.requeue(taken)
    again = [next(consumer), next(consumer)]
    for delivery in again:
        consumer.ack(delivery)

    assert [delivery.message_id for delivery in again] == [first.message_id, second.message_id]
    assert [delivery.args for delivery in again] == [(1,), (2,)]
    broker.join("default", timeout=SOON)
    assert not queues.dead()
    consumer.close()


def test_no_more_is_taken_than_the_prefetch_says(broker: ValkeyBroker, queues: Queues):
    broker.declare_queue("default")
    for n in range(5):
        send(broker, n)
    consumer = broker.consume("default", prefetch=2, timeout=200)

    assert [next(consumer).args, next(consumer).args, next(consumer)] == [(0,), (1,), None]
    assert queues.depths()["default"].inflight == 2
    consumer.close()


def test_a_consumer_that_closes_gives_back_what_it_holds(broker: ValkeyBroker):
    broker.declare_queue("default")
    sent = send(broker, 1)
    consumer = broker.consume("default", timeout=5000)
    held = next(consumer)
    consumer.close()

    other = broker.consume("default", timeout=5000)
    again = next(other)
    assert again.message_id == sent.message_id

    # The fence: who has closed cannot decide any more.
    consumer.ack(held)
    other.nack(again)
    other.close()


def test_two_consumers_of_a_queue_share_its_messages(broker: ValkeyBroker):
    broker.declare_queue("default")
    for n in range(4):
        send(broker, n)
    consumers = [broker.consume("default", prefetch=2, timeout=5000) for _ in range(2)]

    taken = [next(consumer) for consumer in consumers for _ in range(2)]

    assert sorted(delivery.args[0] for delivery in taken) == [0, 1, 2, 3]
    for consumer in consumers:
        consumer.close()


def test_an_acknowledgement_of_what_nobody_holds_has_no_effect(broker: ValkeyBroker):
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=100)
    foreign = dramatiq.MessageProxy(send(broker, 1))

    consumer.ack(foreign)
    consumer.nack(foreign)
    consumer.requeue([foreign])

    assert next(consumer).message_id == foreign.message_id
    consumer.close()


def test_a_queue_that_was_never_declared_is_not_consumed(broker: ValkeyBroker):
    with pytest.raises(QueueNotFound):
        broker.consume("unheard_of")


def test_the_text_of_a_delivery_is_dramatiqs_unless_the_broker_is_discreet(engine: Engine):
    for discreet in (False, True):
        broker = ValkeyBroker(engine.url, prefix=f"texts{discreet}", discreet=discreet)
        broker.declare_queue("default")
        sent = send(broker, "secret")
        consumer = broker.consume("default", timeout=5000)
        delivery = next(consumer)

        assert (str(delivery) == str(sent)) is not discreet
        assert (repr(sent) in repr(delivery)) is not discreet
        assert ("secret" in f"{delivery} {delivery!r}") is not discreet
        consumer.close()
        broker.close()


# -- what messages may hold


def test_what_json_cannot_carry_is_refused_as_dramatiq_refuses_it(broker: ValkeyBroker):
    for value in (datetime.now(UTC), {1, 2}, b"bytes", object()):
        with pytest.raises(TypeError, match="not JSON serializable"):
            send(broker, value)


def test_what_pythons_json_carries_arrives(broker: ValkeyBroker):
    got = []
    dramatiq.actor(got.append, broker=broker, actor_name="work")
    values: list[Any] = [math.inf, -math.inf, 2**80, "\ud800", "ü", {"1": None}, [1, [2.5]], True]
    for value in values:
        send(broker, value)
    run_all(broker)

    assert got == values


def test_a_pickled_message_arrives_is_retried_and_hands_on(broker: ValkeyBroker, queues: Queues, pickled: None):
    got, when = [], datetime(2026, 1, 2, tzinfo=UTC)

    @dramatiq.actor(broker=broker, min_backoff=1, max_backoff=2, on_success="second")
    def first(at: datetime, *, unique: set[int]) -> set[int]:
        got.append(at)
        if len(got) < 3:
            raise RuntimeError("not yet")
        return unique

    @dramatiq.actor(broker=broker)
    def second(message: dict[str, Any], result: set[int]) -> None:
        got.append((message["args"], result))

    first.send(when, unique={1, 2})
    run_all(broker)

    assert got == [when, when, when, ((when,), {1, 2})]


def test_a_pickled_message_that_cannot_be_opened_is_a_dead_letter_alone(
    broker: ValkeyBroker, queues: Queues, pickled: None
):
    got = []
    dramatiq.actor(got.append, broker=broker, actor_name="work")
    sealed = send(broker, "sealed")
    dramatiq.set_encoder(JSONEncoder())
    send(broker, "plain")
    run_all(broker)

    assert got == ["plain"]
    assert [dead.id for dead in queues.dead()] == [sealed.message_id]
    # Whoever has the encoder can still open it.
    dramatiq.set_encoder(PickleEncoder())
    assert queues.retry(sealed.message_id)
    run_all(broker)
    assert got == ["plain", "sealed"]


def test_a_broker_and_its_errors_name_no_message_that_is_too_large(broker: ValkeyBroker):
    with pytest.raises(Invalid, match="bytes on the wire"):
        send(broker, "x" * 300_000)


def test_an_option_that_cannot_be_written_down_does_not_hold_a_message_back(broker: ValkeyBroker, queues: Queues):
    tries = []

    class Note(dramatiq.Middleware):
        def before_process_message(self, _broker: object, message: Any) -> None:
            message.options["started"] = datetime.now(UTC)

    broker.add_middleware(Note())

    @dramatiq.actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=2)
    def fail() -> None:
        tries.append(1)
        raise RuntimeError("no")

    fail.send()
    run_all(broker)

    assert len(tries) == 2
    assert [dead.job for dead in queues.dead()] == ["fail"]


# -- more than one broker


def test_brokers_of_one_process_keep_apart_and_send_to_each_other(engine: Engine):
    ran = []
    left = ValkeyBroker(engine.url, prefix="left")
    right = ValkeyBroker(engine.client(), prefix="right")

    @dramatiq.actor(broker=right, actor_name="work")
    def receive(n: int) -> None:
        ran.append(("right", n))

    @dramatiq.actor(broker=left, actor_name="work")
    def pass_on(n: int) -> None:
        ran.append(("left", n))
        receive.send(n)

    pass_on.send(1)
    workers = [dramatiq.Worker(broker, worker_timeout=100, worker_threads=2) for broker in (left, right)]
    for worker in workers:
        worker.start()
    left.join("default", timeout=SOON)
    right.join("default", timeout=SOON)
    for worker in workers:
        worker.stop()
    for broker in (left, right):
        broker.close()

    assert ran == [("left", 1), ("right", 1)]


def test_a_message_that_one_broker_holds_is_copied_to_another(engine: Engine):
    left, right = (ValkeyBroker(engine.url, prefix=prefix) for prefix in ("left", "right"))
    for broker in (left, right):
        broker.declare_queue("default")
    send(left, 1)
    consumer = left.consume("default", timeout=5000)
    delivery = next(consumer)
    right.enqueue(delivery)
    consumer.ack(delivery)

    left.join("default", timeout=SOON)
    assert next(right.consume("default", timeout=5000)).message_id == delivery.message_id
    left.close()
    right.close()


# -- the command line


PROGRAM = """
import os, sys
import dramatiq
from dramatiq.middleware import AsyncIO
from backroom.queue.broker import ValkeyBroker

broker = ValkeyBroker(os.environ["ENGINE"], prefix="br")
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)

def note(line):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(line + "\\n")

@dramatiq.actor
def add(x, y):
    note(f"{x + y}")

@dramatiq.actor(queue_name="other")
async def wait(n):
    note(f"async {n}")
"""


def test_the_dramatiq_command_runs_a_module_of_plain_actors(engine: Engine, tmp_path: Path, broker: ValkeyBroker):
    (tmp_path / "program.py").write_text(PROGRAM)
    notes = tmp_path / "notes"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "ENGINE": engine.url, "NOTES": str(notes), "PYTHONPATH": f"{tmp_path}:{root}"}
    command = [sys.executable, "-m", "dramatiq", "program", "--processes", "2", "--threads", "2"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        for n in range(10):
            broker.enqueue(dramatiq.Message("default", "add", (n, 1), {}, {}))
        broker.enqueue(dramatiq.Message("other", "wait", (7,), {}, {}), delay=10)
        broker.join("default", timeout=60_000)
        broker.join("other", timeout=60_000)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()

    assert sorted(notes.read_text().split("\n")) == sorted([*map(str, range(1, 11)), "async 7", ""])
