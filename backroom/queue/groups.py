"""Groups whose members are counted where they are settled, so that none counts twice and none is forgotten."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import redis
from dramatiq import Message
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits import RateLimiterBackend

from backroom.queue.decide import BatchFailed
from backroom.queue.delivery import Delivery, Held
from backroom.queue.dialect import delay_of, envelope, made_up, without_eta
from backroom.queue.finishing import noted
from backroom.queue.open import base
from backroom.queue.wire import Argument, encode, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dramatiq import Broker, MessageProxy

    from backroom.queue.broker import ValkeyBroker

# A dead letter is kept for so long, and a member that is retried from there still counts.
KEPT = timedelta(days=31)


class GroupCounts(RateLimiterBackend):
    """How many members of each group are not settled yet, beside their messages.

    Args:
        client: Its connections.
        prefix: What every key starts with.
    """

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._client = client
        self._base = base(prefix)

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Begin to count a group of so many members."""
        return bool(self._client.set(f"{self._base}group:{key}", value, px=kept(ttl), nx=True))

    def left(self, key: str) -> int | None:
        """How many members are left; None where the group is not counted here."""
        found: Any = self._client.get(f"{self._base}group:{key}")
        return None if found is None else int(found)


class SettledGroups(GroupCallbacks):
    """Dramatiq's group callbacks, in the place of its own.

    There, a member is counted before it is acknowledged. A worker that dies in between has it counted a second time,
    and the callback runs before another member is done.

    Args:
        stock: What it takes the place of; it goes on to count the groups that were begun elsewhere.
        broker: Whose members are counted.
    """

    def __init__(self, stock: GroupCallbacks, broker: ValkeyBroker) -> None:
        # Not the other one's: that would warn of its old settings a second time.
        self.stock, self.broker = stock, broker
        self.rate_limiter_backend = self.counts = GroupCounts(broker.client, prefix=broker.prefix)
        self.barrier_ttl = stock.barrier_ttl

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Have the end of each member counted in its settlement."""
        if not isinstance(message, Delivery) or (exception and not isinstance(exception, BatchFailed)):
            return
        for held in message.held:
            options = held.message.options
            group, callbacks = options.get("group_completion_uuid"), options.get("group_completion_callbacks")
            if not group or not callbacks:
                continue
            left = self._left(group)
            if left is None:
                self.stock.after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]  # Dramatiq has no types here
                continue
            with noted():
                self._count(message, held, group, [Message(**callback) for callback in callbacks], left=left)

    def _left(self, group: str) -> int | None:
        # Only the settlement knows for sure, so who cannot ask goes on.
        with suppress(redis.RedisError, OSError):
            return self.counts.left(group)
        return 0

    def _count(
        self,
        delivery: Delivery,
        member: Held,
        group: str,
        callbacks: list[Message[Any]],
        *,
        left: int,
    ) -> None:
        # Any member may turn out to be the last, and then there is nobody to ask the hooks.
        for callback in callbacks:
            self.broker.emit_before("enqueue", callback, None)
        delivery.count_for(member, group, kept(self.barrier_ttl), list(_posts(self.broker, group, callbacks)))
        if left == 1:
            for callback in callbacks:
                self.broker.emit_after("enqueue", callback, None)


def _posts(broker: ValkeyBroker, group: str, callbacks: list[Message[Any]]) -> Iterator[tuple[Argument, ...]]:
    for n, callback in enumerate(callbacks):
        # One more run of it for each run of its group, unless the program has chosen the id.
        stored_as = str(uuid5(NAMESPACE_OID, f"{group}/{n}")) if made_up(callback.message_id) else callback.message_id
        delay = delay_of(callback, None)
        letter = envelope(without_eta(callback), stored_as=stored_as)
        yield stored_as, letter.queue_name, broker.line(callback), encode(letter), milliseconds(delay), b""


def kept(ttl: int) -> int:
    """How many milliseconds a count is kept after its last member, where a program asks for so many."""
    return max(ttl, milliseconds(KEPT))
