"""Hot values, such as sessions: written in the same step as the message that will persist them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from backroom.queue.open import AsyncScript, base, queue_away
from backroom.queue.wire import milliseconds

if TYPE_CHECKING:
    import redis.asyncio


@dataclass(frozen=True, kw_only=True, slots=True)
class HotPut:
    """A change of one hot value.

    Attributes:
        key: Which one.
        value: What it becomes.
        expected: The version it must have; None: it must not exist.
        ended: Whether this is the end: a tombstone that refuses every later put or fill while it lasts.
        ttl: How long it is kept.
    """

    key: str
    value: bytes
    expected: int | None
    ended: bool = False
    ttl: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class HotValue:
    """A hot value as it is now."""

    version: int
    value: bytes
    ended: bool


class AsyncHot:
    """Reads hot values; they are put by `AsyncSender.put_and_send`."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._client = client
        self._base = base(prefix)
        self._fill = AsyncScript(client, "fill", prefix=prefix)

    async def get(self, key: str) -> HotValue | None:
        """The value, or None where there is none.

        Raises:
            QueueAway: Valkey does not answer.
        """
        with queue_away():
            version, value, ended = await self._client.hmget(f"{self._base}hot:{key}", ["v", "d", "e"])
        if version is None or not isinstance(value, bytes):
            return None
        return HotValue(version=int(version), value=value, ended=ended is not None)

    async def fill(self, key: str, *, version: int, value: bytes, ttl: timedelta) -> bool:
        """Bring a value back from the store, unless something newer or a tombstone is there.

        Raises:
            QueueAway: Valkey does not answer.
        """
        with queue_away():
            return bool(await self._fill(key, version, value, milliseconds(ttl)))
