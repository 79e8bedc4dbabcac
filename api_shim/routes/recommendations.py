"""What may please a user, and why."""

from __future__ import annotations

import falcon.asgi
import msgspec

from api_shim.asked import checked_id, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.contract import Answer, limit, speaks
from api_shim.door import Door, allow
from backroom.domain import recommendation
from backroom.domain.recommendation import recommend
from backroom.store.read import Reader
from backroom.store.rows_insights import Described

MOST = 50


class Because(msgspec.Struct):
    """An item that another one goes with.

    Attributes:
        item: Its id.
        name: What it is called, where that is known.
    """

    item: str
    name: str | None


class Reason(msgspec.Struct):
    """Why an item is recommended.

    Attributes:
        kind: `bought_together` or `viewed_together` with `because`, or `popular`.
        because: What the user did something with.
    """

    kind: recommendation.Kind
    because: Because | None


class Recommendation(msgspec.Struct):
    """An item that may please.

    Attributes:
        item: Its id.
        name: What it is called.
        price: What it cost last.
        currency: In which currency.
        url: Where it is.
        reason: Why it is here.
    """

    item: str
    name: str | None
    price: float | None
    currency: str | None
    url: str | None
    reason: Reason


class RecommendationList(msgspec.Struct, omit_defaults=True):
    """Items, best first.

    Attributes:
        user: For whom.
        items: Which.
        says: What to do where there are none.
    """

    user: str
    items: list[Recommendation]
    says: str | None = None


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/users/{user}/recommendations": Recommendations(door)}


class Recommendations:
    """Items for one user."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(asks=[limit(default=10, most=MOST)], gives={200: Answer(about="The items.", body=RecommendationList)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """What goes with what the user viewed, bought and searched for, best first, each with its reason."""
        caller: Caller = req.context.caller
        caller.must_be(user)
        checked_id(user, field="/user")
        most = page_limit(req, default=10, most=MOST)

        def ask(read: Reader) -> tuple[list[recommendation.Recommendation], dict[str, Described]]:
            now = utc_now()
            found = recommend(read.recommendations.facts(user, now=now), now=now, limit=most)
            wanted = {one.item for one in found} | {one.because for one in found if one.because}
            return found, read.recommendations.described(wanted)

        found, known = await self._door.ask(caller, ask)
        answer = RecommendationList(user=user, items=[_shown(one, known) for one in found])
        if not found:
            answer.says = (
                "Nothing yet. Send `Product Viewed` and `Order Completed` to /v1/track; "
                "what goes together is found out every quarter of an hour, or by POST /v1/insights/refresh."
            )
        resp.data = msgspec.json.encode(answer)


def _shown(found: recommendation.Recommendation, known: dict[str, Described]) -> Recommendation:
    item = known.get(found.item)
    because = known.get(found.because or "")
    return Recommendation(
        item=found.item,
        name=found.name or None,
        price=item.price if item else None,
        currency=item.currency or None if item else None,
        url=item.url or None if item else None,
        reason=Reason(
            kind=found.kind,
            because=Because(item=found.because, name=because.name if because else None) if found.because else None,
        ),
    )
