"""The outcome of a job for somebody who waits at the door."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import redis
import redis.asyncio

from backroom.domain.errors import Full
from backroom.queue.open import base, queue_away
from backroom.queue.wire import milliseconds

KEPT = timedelta(seconds=60)
MOST_WAITING = 64


class Answers:
    """The worker's side."""

    def __init__(self, client: redis.Redis, *, prefix: str) -> None:
        self._client = client
        self._base = base(prefix)

    def give(self, id: str, outcome: bytes) -> None:
        """Say what became of a job, to whoever waits for it or asks within a minute.

        Raises:
            QueueAway: Valkey does not answer.
        """
        key = f"{self._base}answer:{id}"
        with queue_away(), self._client.pipeline(transaction=True) as steps:
            steps.delete(key)
            steps.rpush(key, outcome)
            steps.pexpire(key, milliseconds(KEPT))
            steps.execute()


class AsyncAnswers:
    """The door's side. It has connections of its own, for each wait holds one.

    Args:
        client: Whose address and credentials are used.
        prefix: What every key starts with.
        most: How many may wait at the same time.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str, most: int = MOST_WAITING) -> None:
        pool = client.connection_pool
        # The engine ends a wait, not the socket.
        options = {**pool.connection_kwargs, "socket_timeout": None}
        self._client = redis.asyncio.Redis.from_pool(
            redis.asyncio.ConnectionPool(connection_class=pool.connection_class, max_connections=most, **options)
        )
        self._base = base(prefix)
        self._free = most

    async def wait(self, id: str, *, timeout: timedelta) -> bytes | None:  # noqa: ASYNC109 - the engine waits
        """The outcome of a job, or None where there is none in time.

        Raises:
            Full: Too many wait already.
            QueueAway: Valkey does not answer.
        """
        if not self._free:
            raise Full("the bench of those who wait for an answer")
        key = f"{self._base}answer:{id}"
        # To the engine, zero is for ever.
        seconds = max(0.001, timeout.total_seconds())
        self._free -= 1
        try:
            with queue_away():
                async with asyncio.timeout(seconds + 1):
                    # Moved to where it was, so that a second one who waits for the same job is told, too.
                    found = await self._client.execute_command("BLMOVE", key, key, "LEFT", "LEFT", seconds)  # type: ignore[no-untyped-call]  # redis has no types here
        finally:
            self._free += 1
        return None if found is None else bytes(found)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
