"""Whether the engine has memory left for more: a queue must be refused in time, while it can still be emptied."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import redis
import redis.asyncio
import structlog

from backroom.domain.errors import Full

LOOK_EVERY = timedelta(seconds=1)
# Of `maxmemory`. Acknowledgements, retries and leases need the rest.
MOST_USED = 0.9
RETRY_AFTER = timedelta(seconds=10)

log = structlog.get_logger()


class MemoryGuard:
    """Looks at the engine's own count once a second, however many ask.

    Attributes:
        full: What it saw last.
    """

    def __init__(self) -> None:
        self.full = False
        self._due = 0.0

    def check(self) -> None:
        """Refuse what would fill the engine up.

        Raises:
            Full: It has less than a tenth of its memory left.
        """
        if self.full:
            raise Full("the queue's engine", after=RETRY_AFTER, why="memory")

    def look(self, client: redis.Redis) -> None:
        """Ask the engine, if it is time. An engine that does not answer is somebody else's business."""
        if self._is_due():
            try:
                self._note(client.info("memory"))
            except (redis.RedisError, OSError):
                return

    async def look_async(self, client: redis.asyncio.Redis) -> None:
        """The same from an event loop."""
        if self._is_due():
            try:
                self._note(await client.info("memory"))
            except (redis.RedisError, OSError):
                return

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + LOOK_EVERY.total_seconds()
        return True

    def _note(self, memory: object) -> None:
        found = cast("Mapping[str, Any]", memory)
        most, used = int(found.get("maxmemory", 0)), int(found.get("used_memory", 0))
        full = bool(most) and used > MOST_USED * most
        if full != self.full:
            log.warning("engine.memory_short" if full else "engine.memory_back", used=used, maxmemory=most)
        self.full = full
