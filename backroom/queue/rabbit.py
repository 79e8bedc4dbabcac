"""Dramatiq's own RabbitMQ broker, which refuses what only our broker can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dramatiq import Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from backroom.domain.errors import Invalid
from backroom.queue.broker import ValkeyBroker

if TYPE_CHECKING:
    from dramatiq import Actor
    from dramatiq.middleware import Middleware

# What to do without it. An option that is not here is refused, too, with no better advice than Valkey.
INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "attempts": "max_retries, an option of Dramatiq's Retries",
        "backoff": "min_backoff and max_backoff, options of Dramatiq's Retries",
        "batch": "one message for each call, and many rows in each message",
        "linger_ms": "one message for each call, and many rows in each message",
        "ordered": "a queue of its own, read by one worker with one thread",
        "limits": "dramatiq.rate_limits, taken by the actor itself",
        "kept": "dramatiq.results, for what an actor returns",
        "unique": "a unique key in your database, written by the actor",
        "expires": "max_age, an option of Dramatiq's AgeLimit",
        "status": "dramatiq.results, for what an actor returns",
        "cancel": "a mark in your database that the actor looks at",
    }
)


class CarefulRabbitmqBroker(RabbitmqBroker):
    """Waits for the confirmation of what it publishes, and knows no option that only our broker has.

    Nor are there hot values, answers, states, cancelling and the tools for dead letters: they take a client of Valkey.

    Args:
        url: Where RabbitMQ is; nothing is connected yet.
        middleware: All of it, or None for Dramatiq's own.

    Raises:
        Invalid: The address is wrong.
    """

    def __init__(self, url: str, *, middleware: list[Middleware] | None = None) -> None:
        try:
            super().__init__(url=url, confirm_delivery=True, middleware=middleware)
        except (ValueError, TypeError):
            # Without its cause, which may show the password.
            raise Invalid("the broker's URL", "cannot be read", "amqp://user:password@host:5672/vhost") from None
        self._refused = _only_ours(self.actor_options)
        # Known, so that the refusal is ours, and says what to do instead.
        self.actor_options |= self._refused

    def declare_actor(self, actor: Actor[..., Any]) -> None:
        """Declare an actor.

        Raises:
            Invalid: It asks for something that RabbitMQ does not have.
        """
        self._refuse(f"actor {actor.actor_name}", actor.options)
        super().declare_actor(actor)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Publish a message, and wait until RabbitMQ has confirmed it.

        Raises:
            Invalid: It asks for something that RabbitMQ does not have.
        """
        self._refuse(f"a message for {message.actor_name}", message.options)
        return super().enqueue(message, delay=delay)

    def _refuse(self, who: str, options: Iterable[str]) -> None:
        for name in sorted(self._refused.intersection(options)):
            instead = INSTEAD.get(name, "leave it out")
            raise Invalid(who, f"asks for {name}, which RabbitMQ does not have", f"{instead}; or Valkey")


def _only_ours(theirs: set[str]) -> set[str]:
    # Nothing is connected: our broker only tells what it knows.
    return (ValkeyBroker("redis://localhost", prefix="br").actor_options | set(INSTEAD)) - theirs
