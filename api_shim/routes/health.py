"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import falcon
import falcon.asgi
import msgspec

from api_shim.door import Door, allow
from backroom.domain.errors import QueueAway, StoreAway


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/healthz": Alive(), "/readyz": Ready(door)}


class Alive:
    """This process answers."""

    @allow()
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Always 200: restarting this process would mend nothing else."""
        resp.data = b'{"status":"ok"}'


class Ready:
    """What this process needs answers, too."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._away_since: dict[str, float] = {}

    @allow()
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 if both engines answer, 503 if the queue does not; without the memory accepting goes on."""
        queue, memory = await asyncio.gather(
            self._check("queue", self._door.notes.missing(["ready"])),
            self._check("memory", self._door.in_thread(self._door.view.ready)),
        )
        resp.status = falcon.HTTP_200 if queue["up"] else falcon.HTTP_503
        resp.data = msgspec.json.encode(
            {"status": "ok" if queue["up"] and memory["up"] else "degraded", "queue": queue, "memory": memory}
        )

    async def _check(self, name: str, question: Awaitable[object]) -> dict[str, Any]:
        try:
            await question
        except (QueueAway, StoreAway):
            since = self._away_since.setdefault(name, time.monotonic())
            return {"up": False, "away_seconds": round(time.monotonic() - since)}
        self._away_since.pop(name, None)
        return {"up": True}
