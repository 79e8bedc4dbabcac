"""The broker that an address asks for: ours on Valkey, or Dramatiq's own on RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backroom.domain.errors import CannotStart
from backroom.queue.broker import ValkeyBroker

if TYPE_CHECKING:
    from dramatiq import Broker
    from dramatiq.middleware import Middleware


def broker_for(url: str, *, prefix: str, middleware: list[Middleware] | None = None) -> Broker:
    """A broker for a Dramatiq program of your own; the house itself needs Valkey. Nothing is connected yet.

    Args:
        url: `redis://` and its kin, or `amqp://` and `amqps://`.
        prefix: What every key in Valkey starts with. RabbitMQ keeps programs apart by its virtual hosts.
        middleware: All of it, or None for what goes with the broker.

    Raises:
        Invalid: The address is wrong.
        CannotStart: It names RabbitMQ, and what talks to it is not installed.
    """
    if not url.startswith(("amqp://", "amqps://")):
        return ValkeyBroker(url, prefix=prefix, middleware=middleware)
    try:
        from backroom.queue.rabbit import CarefulRabbitmqBroker  # noqa: PLC0415 - an extra that few install
    except ModuleNotFoundError as error:
        raise CannotStart("RabbitMQ needs pika", mend="pip install '.[rabbitmq]' in Backroom's folder") from error
    return CarefulRabbitmqBroker(url, middleware=middleware)
