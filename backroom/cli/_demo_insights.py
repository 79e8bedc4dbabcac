"""Has the day counted, and reads what came of it: insights, what may please somebody, and the digest made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from backroom.cli._demo_door import Door, TurnedAway
from backroom.cli._demo_parts import SOON, Part, until
from backroom.cli._demo_play import CURRENCY

# For what goes over all that ever happened.
LATER = timedelta(minutes=2)


async def insights(door: Door, *, browsed: bool) -> list[Part]:
    """Have everything counted, and read what came out.

    Args:
        door: Where to.
        browsed: Whether there were visits, and not orders only.
    """

    async def report(name: str) -> dict[str, Any]:
        found: dict[str, Any] = await door.get(f"/v1/insights/{name}?limit=3")
        return found

    async def counted() -> bool:
        found = await report("purchases")
        return bool(found["rows"]) and not found["days_waiting_to_be_counted"]

    # Asked for once: it may take longer than anybody waits at the door, and then goes on by itself.
    await door.ask("POST", "/v1/insights/refresh", headers={"Prefer": "wait=10"})
    await until(counted, within=LATER)
    purchases = await report("purchases")
    found = []
    if browsed:
        searches, pages = await report("searches"), await report("pages")
        found += [
            _insight("Searches", "searches", [f"{row['query']} ({row['count']:,})" for row in searches["rows"]]),
            _insight(
                "Time on pages",
                "pages",
                [f"{row['page']} {row['mean_seconds']} s" for row in pages["rows"] if row["mean_seconds"] is not None],
            ),
        ]
    orders = purchases["orders"]
    bought = [f"{row['name'] or row['item']} ({row['count']:,} orders)" for row in purchases["rows"]]
    tracked = f"{orders['count']:,} orders tracked, {float(orders['amount']):,.0f} {CURRENCY} in all; most often "
    found.append(_insight("Purchases", "purchases", bought, before=tracked))
    return found


def _insight(name: str, report: str, rows: Sequence[str], *, before: str = "") -> Part:
    return Part(
        name=name, shown=bool(rows), says=before + (", ".join(rows) or "nothing"), where=f"GET /v1/insights/{report}"
    )


async def recommendations(door: Door, users: Sequence[str], *, enough: bool) -> tuple[Part, str]:
    """The first of these users to whom something can be recommended because of what they did, and what that is.

    Args:
        door: Where to.
        users: Who is looked at, in this order.
        enough: Whether there were so many orders that something must go together.
    """
    where = "GET /v1/users/…/recommendations"

    async def found() -> tuple[Part, str] | None:
        for user in users:
            items = (await door.get(f"/v1/users/{quote(user)}/recommendations?limit=6"))["items"]
            reasoned = [item for item in items if item["reason"]["because"]]
            if reasoned:
                says = f"{user}: {_named(reasoned[0])}; {len(reasoned)} of {len(items)} because of what they did"
                return Part(name="Recommendations", shown=True, says=says, where=where), user
        return None

    # What goes together is found out behind the counting.
    if users and (first := await until(found, within=LATER if enough else SOON / 5)):
        return first
    says = f"nothing for any of {len(users)} customers that goes with what they did"
    return Part(name="Recommendations", shown=False if enough else None, says=says, where=where), ""


def _named(item: Mapping[str, Any]) -> str:
    kind = str(item["reason"]["kind"]).replace("_", " ")
    because = item["reason"]["because"]
    return f"{item['name'] or item['item']}, {kind} with {because['name'] or because['item']}"


async def digest(door: Door, user: str, *, enough: bool) -> Part:
    """Have today's digests sent, and find this user's; see `recommendations`."""
    where = f"POST /v1/digests, GET /v1/users/{user}/inbox"
    name = "Digest"
    if not user:
        return Part(name=name, shown=False if enough else None, says="there is nobody to write one to", where=where)
    await door.ask("POST", "/v1/digests", headers={"Prefer": "wait=10"})

    async def arrived() -> dict[str, Any] | None:
        page = await door.get(f"/v1/users/{quote(user)}/inbox?limit=100")
        return next((item for item in page["items"] if item["type"] == "daily_digest"), None)

    item = await until(arrived)
    if item is None:
        return Part(name=name, shown=False, says=f"none has come to {user}", where=where)
    states: dict[str, str] = {}
    with suppress(TurnedAway):
        notification = await door.get(f"/v1/notifications/{item['notification']}")
        states = {one["channel"]: one["state"] for one in notification["deliveries"]}
    over = ", ".join(f"{channel} {state}" for channel, state in sorted(states.items()))
    first = next((line.strip() for line in item["body"].splitlines() if line.strip()), "")
    return Part(name=name, shown=bool(first), says=f"“{item['title']}” {first} ({over})", where=where)
