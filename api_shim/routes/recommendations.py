"""What may please a user, and why."""

from __future__ import annotations

from typing import Any

import falcon.asgi
import msgspec

from api_shim.asked import checked_id, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.door import Door, allow
from backroom.domain.recommendation import Recommendation, recommend
from backroom.store.read import Reader
from backroom.store.rows_insights import Described

MOST = 50


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/users/{user}/recommendations": Recommendations(door)}


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
