"""What the clock asks for by itself, asked for now."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import wanted_wait
from api_shim.contract import PREFER, Answer, speaks
from api_shim.door import Door, allow
from backroom.domain.job import Message
from jobs.digest_send import SendDigests
from jobs.events_rollup import RollUpEvents
from jobs.items_pair import PairItems


class Refreshed(msgspec.Struct, omit_defaults=True):
    """How far a refresh is.

    Attributes:
        state: Whether it is done.
        days: How many days were counted, once it is.
        pairs: How many pairs of items go together, once it is.
    """

    state: Literal["accepted", "done"]
    days: int | None = None
    pairs: int | None = None


class DigestsSent(msgspec.Struct, omit_defaults=True):
    """How far today's digests are.

    Attributes:
        state: Whether the first page of readers is done.
        readers: How many readers it had, once it is.
        sent: How many of them there was something to tell.
    """

    state: Literal["accepted", "done"]
    readers: int | None = None
    sent: int | None = None


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/insights/refresh": Refresh(door), "/v1/digests": Digests(door)}


def _answers(body: type) -> dict[int, Answer]:
    return {
        200: Answer(about="It is done: the caller waited for it.", body=body),
        202: Answer(about="It is on the queue.", body=body),
    }


class Refresh:
    """Counts and pairs, now rather than at the clock's next tick."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(asks=[PREFER], gives=_answers(Refreshed))
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Have the days counted and what goes together found out: 202, or 200 where the caller waits for it."""
        app = req.context.caller.app
        await _ask_for(self._door, req, resp, [RollUpEvents(app=app), PairItems(app=app)], Refreshed)


class Digests:
    """Today's digests, now rather than in the morning."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(asks=[PREFER], gives=_answers(DigestsSent))
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Send today's digest to all who have not had it: 202, or 200 where the caller waits for the first page."""
        await _ask_for(self._door, req, resp, [SendDigests(app=req.context.caller.app)], DigestsSent)


async def _ask_for(
    door: Door,
    req: falcon.asgi.Request,
    resp: falcon.asgi.Response,
    messages: list[Message],
    kind: type[Refreshed | DigestsSent],
) -> None:
    wait = wanted_wait(req)
    posts = [door.post(message, answer=bool(wait)) for message in messages]
    await door.sender.send(posts)
    outcomes = await asyncio.gather(*(door.outcome(post.id, wait=wait) for post in posts)) if wait else []
    done = bool(outcomes) and None not in outcomes
    if done:
        resp.set_header("Preference-Applied", f"wait={round(wait.total_seconds())}")
    else:
        resp.status = falcon.HTTP_202
    told = [outcome.get("body", {}) for outcome in outcomes if outcome is not None]
    said: dict[str, Any] = {name: value for body in told for name, value in body.items()}
    resp.data = msgspec.json.encode(kind(state="done" if done else "accepted", **said))
