"""What the clock asks for by itself, asked for now."""

from __future__ import annotations

import asyncio

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import wanted_wait
from api_shim.door import Door, allow
from backroom.domain.job import Message
from jobs.digest_send import SendDigests
from jobs.events_rollup import RollUpEvents
from jobs.items_pair import PairItems


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/insights/refresh": Refresh(door), "/v1/digests": Digests(door)}


class Refresh:
    """Counts and pairs, now rather than at the clock's next tick."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Have the days counted and what goes together found out: 202, or 200 where the caller waits for it."""
        app = req.context.caller.app
        await _ask_for(self._door, req, resp, [RollUpEvents(app=app), PairItems(app=app)])


class Digests:
    """Today's digests, now rather than in the morning."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Send today's digest to all who have not had it: 202, or 200 where the caller waits for the first page."""
        await _ask_for(self._door, req, resp, [SendDigests(app=req.context.caller.app)])


async def _ask_for(door: Door, req: falcon.asgi.Request, resp: falcon.asgi.Response, messages: list[Message]) -> None:
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
    said = {name: value for body in told for name, value in body.items()}
    resp.data = msgspec.json.encode({"state": "done" if done else "accepted", **said})
