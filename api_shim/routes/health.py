"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Literal

import falcon
import falcon.asgi
import msgspec

from api_shim.contract import Answer, speaks
from api_shim.door import Door, allow
from backroom.domain.errors import QueueAway, StoreAway


class Up(msgspec.Struct):
    """This process answers.

    Attributes:
        status: It always is.
    """

    status: Literal["ok"]


class Engine(msgspec.Struct, omit_defaults=True):
    """Whether an engine answers.

    Attributes:
        up: Whether it does.
        away_seconds: Since when it does not.
    """

    up: bool
    away_seconds: int | None = None


class Readiness(msgspec.Struct):
    """Whether the door can do its work.

    Attributes:
        status: `degraded` where one of them does not answer.
        queue: Without it nothing is accepted.
        memory: Without it accepting goes on, and reading waits.
    """

    status: Literal["ok", "degraded"]
    queue: Engine
    memory: Engine


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/healthz": Alive(), "/readyz": Ready(door)}


class Alive:
    """This process answers."""

    @allow()
    @speaks(gives={200: Answer(about="It lives.", body=Up)})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Always 200: restarting this process would mend nothing else."""
        resp.data = msgspec.json.encode(Up(status="ok"))


class Ready:
    """What this process needs answers, too."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._away_since: dict[str, float] = {}

    @allow()
    @speaks(
        gives={
            200: Answer(about="It can take work.", body=Readiness),
            503: Answer(about="It cannot: the queue does not answer.", body=Readiness),
        }
    )
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 if both engines answer, 503 if the queue does not; without the memory accepting goes on."""
        queue, memory = await check(self._door)
        resp.status = falcon.HTTP_200 if queue else falcon.HTTP_503
        readiness = Readiness(
            status="ok" if queue and memory else "degraded",
            queue=self._engine("queue", up=queue),
            memory=self._engine("memory", up=memory),
        )
        resp.data = msgspec.json.encode(readiness)

    def _engine(self, name: str, *, up: bool) -> Engine:
        if up:
            self._away_since.pop(name, None)
            return Engine(up=True)
        since = self._away_since.setdefault(name, time.monotonic())
        return Engine(up=False, away_seconds=round(time.monotonic() - since))


async def check(door: Door) -> tuple[bool, bool]:
    """Whether the queue and the memory answer."""
    return await asyncio.gather(_answers(door.notes.missing(["ready"])), _answers(door.readers.glance(door.view.ready)))


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await question
    except (QueueAway, StoreAway):
        return False
    return True
