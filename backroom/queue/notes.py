"""Short notes that the front door leaves for itself, such as "this user is on its way to the memory"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from backroom.queue.open import base, queue_away
from backroom.queue.wire import milliseconds

if TYPE_CHECKING:
    import redis.asyncio


class AsyncNotes:
    """Notes by key; each is forgotten after its time."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str) -> None:
        self._client = client
        self._base = base(prefix)

    async def leave(self, key: str, *, ttl: timedelta) -> None:
        """Leave a note.

        Raises:
            QueueAway: Valkey does not answer.
        """
        with queue_away():
            await self._client.set(f"{self._base}note:{key}", b"", px=milliseconds(ttl))

    async def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of these keys that have no note, in their order.

        Raises:
            QueueAway: Valkey does not answer.
        """
        if not keys:
            return []
        with queue_away():
            found = await self._client.mget([f"{self._base}note:{key}" for key in keys])
        return [key for key, note in zip(keys, found, strict=True) if note is None]
