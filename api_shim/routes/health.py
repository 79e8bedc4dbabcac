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
        up = dict(zip(("queue", "memory"), await check(self._door), strict=True))
        resp.status = falcon.HTTP_200 if up["queue"] else falcon.HTTP_503
        resp.data = msgspec.json.encode(
            {"status": "ok" if all(up.values()) else "degraded"}
            | {name: {"up": True} if answers else self._away(name) for name, answers in up.items()}
        )
        for name, answers in up.items():
            if answers:
                self._away_since.pop(name, None)

    def _away(self, name: str) -> dict[str, Any]:
        since = self._away_since.setdefault(name, time.monotonic())
        return {"up": False, "away_seconds": round(time.monotonic() - since)}


async def check(door: Door) -> tuple[bool, bool]:
    """Whether the queue and the memory answer."""
    return await asyncio.gather(_answers(door.notes.missing(["ready"])), _answers(door.readers.glance(door.view.ready)))


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await question
    except (QueueAway, StoreAway):
        return False
    return True
