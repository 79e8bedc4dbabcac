"""RabbitMQ carries a Dramatiq program, and what it cannot do is refused when it is declared.

There is no RabbitMQ here: nothing connects. What is held is how the broker is built, and what it says no to.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from backroom.domain.errors import Invalid
from backroom.queue.broker import ValkeyBroker
from backroom.queue.choose import broker_for
from backroom.queue.rabbit import INSTEAD

PAGE = Path(__file__).parents[2] / "docs/how-to/run-on-sentinel-or-cluster.md"
URL = "amqp://ann:hunter2@rabbit.example:5672/shop"


def test_the_page_builds_the_broker_it_speaks_of():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}

    exec(compile(block, str(PAGE), "exec"), names)

    assert isinstance(names["broker"], RabbitmqBroker)


def test_an_address_chooses_the_broker():
    assert isinstance(broker_for("redis://localhost", prefix="br"), ValkeyBroker)
    assert isinstance(broker_for("redis+sentinel://localhost/house", prefix="br"), ValkeyBroker)
    for url in (URL, URL.replace("amqp", "amqps")):
        broker = broker_for(url, prefix="br")
        assert isinstance(broker, RabbitmqBroker)
        assert broker.confirm_delivery
    with pytest.raises(Invalid, match="begins with kafka://"):
        broker_for("kafka://localhost", prefix="br")


def test_a_plain_actor_is_declared_with_what_dramatiq_knows():
    broker = broker_for(URL, prefix="br")

    add = dramatiq.actor(
        lambda x: x, broker=broker, actor_name="add", queue_name="sums", max_retries=3, time_limit=1000
    )

    assert broker.get_actor("add") is add
    assert "sums" in broker.get_declared_queues()


@pytest.mark.parametrize("option", sorted(INSTEAD))
def test_an_actor_that_wants_more_is_refused_with_its_name_the_option_and_what_to_do(option: str):
    with pytest.raises(Invalid) as refused:
        dramatiq.actor(lambda x: x, broker=broker_for(URL, prefix="br"), actor_name="add", **{option: 2})

    assert str(refused.value) == (
        f"actor add: asks for {option}, which RabbitMQ does not have ({INSTEAD[option]}; or Valkey)"
    )


def test_every_option_that_only_our_broker_has_is_refused():
    ours = ValkeyBroker("redis://localhost", prefix="br").actor_options
    plain = RabbitmqBroker(url=URL).actor_options

    for option in sorted(ours - plain):
        with pytest.raises(Invalid, match=f"asks for {option}"):
            dramatiq.actor(lambda x: x, broker=broker_for(URL, prefix="br"), actor_name="add", **{option: 2})


def test_a_message_that_wants_more_is_refused_before_anything_connects():
    broker = broker_for(URL, prefix="br")
    add = dramatiq.actor(lambda x: x, broker=broker, actor_name="add")

    with pytest.raises(Invalid, match="a message for add: asks for unique"):
        broker.enqueue(add.message_with_options(args=(1,), unique="k"))


def test_a_wrong_address_is_refused_without_showing_the_password():
    with pytest.raises(Invalid) as refused:
        broker_for("amqp://ann:hunter2@rabbit:port/", prefix="br")

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_house_never_loads_what_talks_to_rabbitmq():
    code = "import sys, workers.room, api_shim.app, scheduler, backroom.queue.choose; sys.exit('pika' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
