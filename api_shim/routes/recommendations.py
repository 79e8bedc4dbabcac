"""What may please a user, and why."""

from __future__ import annotations

import asyncio
from typing import Any

import falcon
import falcon.asgi
import msgspec

from api_shim.caller import Caller, utc_now
from api_shim.door import Door, allow, checked_id, page_limit, wanted_wait
from backroom.domain.job import Message
from backroom.domain.recommendation import Recommendation, recommend
from backroom.store.read import Reader
from backroom.store.rows_insights import Described
from jobs.digest_send import SendDigests
from jobs.events_rollup import RollUpEvents
from jobs.items_pair import PairItems

MOST = 50


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {
        "/v1/users/{user}/recommendations": Recommendations(door),
        "/v1/insights/refresh": Refresh(door),
        "/v1/digests": Digests(door),
    }


class Recommendations:
    """Items for one user."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """What goes with what the user viewed, bought and searched for, best first, each with its reason."""
        caller: Caller = req.context.caller
        caller.must_be(user)
        checked_id(user, field="/user")
        limit = page_limit(req, default=10, most=MOST)

        def ask(read: Reader) -> tuple[list[Recommendation], dict[str, Described]]:
            now = utc_now()
            found = recommend(read.recommendations.facts(user, now=now), now=now, limit=limit)
            wanted = {one.item for one in found} | {one.because for one in found if one.because}
            return found, read.recommendations.described(wanted)

        found, known = await self._door.ask(caller, ask)
        answer: dict[str, Any] = {"user": user, "items": [_shown(one, known) for one in found]}
        if not found:
            answer["says"] = (
                "Nothing yet. Send `Product Viewed` and `Order Completed` to /v1/track; "
                "what goes together is found out every quarter of an hour, or by POST /v1/insights/refresh."
            )
        resp.data = msgspec.json.encode(answer)


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
    outcomes = await asyncio.gather(*(door.answers.wait(post.id, timeout=wait) for post in posts)) if wait else []
    done = bool(outcomes) and None not in outcomes
    if done:
        resp.set_header("Preference-Applied", f"wait={round(wait.total_seconds())}")
    else:
        resp.status = falcon.HTTP_202
    told = [msgspec.json.decode(outcome).get("body", {}) for outcome in outcomes if outcome is not None]
    said = {name: value for body in told for name, value in body.items()}
    resp.data = msgspec.json.encode({"state": "done" if done else "accepted", **said})


def _shown(found: Recommendation, known: dict[str, Described]) -> dict[str, Any]:
    item = known.get(found.item)
    because = known.get(found.because or "")
    return {
        "item": found.item,
        "name": found.name or None,
        "price": item.price if item else None,
        "currency": item.currency or None if item else None,
        "url": item.url or None if item else None,
        "reason": {
            "kind": found.kind,
            "because": {"item": found.because, "name": because.name if because else None} if found.because else None,
        },
    }
