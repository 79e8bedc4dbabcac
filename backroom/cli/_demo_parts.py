"""Shows the parts besides notifications: what was kept, who was warned, and what was found out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from backroom.cli._demo_door import Door, TurnedAway
from backroom.cli._demo_people import ADMINISTRATOR

T = TypeVar("T")

ASK_EVERY = timedelta(milliseconds=300)
SOON = timedelta(seconds=45)
# For what goes over all that ever happened.
LATER = timedelta(minutes=2)
LOGIN_RULE, MEMORY_RULE = "login.suspicious", "memory.low"
FAILURES = 12
MOST_INBOX_PAGES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the mission, as it was found through the API.

    Attributes:
        name: Which.
        shown: Whether it did what it should; None where this run gave it too little to work with.
        says: What was found.
        where: Where it was read.
    """

    name: str
    shown: bool | None
    says: str
    where: str


async def until(ask: Callable[[], Awaitable[T]], *, within: timedelta = SOON) -> T:
    """Ask until the answer is true, or until the time is over; the last answer."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within.total_seconds()
    while not (answer := await ask()) and loop.time() < deadline:  # noqa: ASYNC110 - what is asked runs elsewhere
        await asyncio.sleep(ASK_EVERY.total_seconds())
    return answer


async def kept_orders(door: Door, records: Mapping[str, set[str]]) -> Part:
    """Whether every order that was put is among its customer's records."""
    wanted = sum(map(len, records.values()))

    async def missing() -> int:
        # All at once: the door's own connections bound how many are under way.
        found = await asyncio.gather(*(_orders_of(door, user) for user in records))
        return sum(len(numbers - there) for numbers, there in zip(records.values(), found, strict=True))

    left = wanted
    if wanted:
        # Writes are done behind the answer, so the last ones may take a moment.
        for _ in range(3):
            left = await missing()
            if not left:
                break
            await asyncio.sleep(1)
    return Part(
        name="Orders stored",
        shown=bool(wanted) and not left,
        says=f"{wanted - left:,} of {wanted:,} found, as records of {len(records):,} customers",
        where="GET /v1/records/orders?owner=…",
    )


async def _orders_of(door: Door, user: str) -> set[str]:
    found: set[str] = set()
    after = ""
    while True:
        page = await door.get(f"/v1/records/orders?owner={quote(user)}&limit=100{after}")
        found |= {record["key"] for record in page["records"]}
        if page["next"] is None:
            return found
        after = f"&after={quote(page['next'])}"


async def burst_of_logins(door: Door) -> Part:
    """Fail to sign in many times from one place, twice over, and see who is told how often."""
    firing = {alert["about"] for alert in await _alerts(door, LOGIN_RULE) if alert["state"] == "firing"}
    # From a block of addresses that is nobody's; one that is not calm yet would not be news.
    places = [f"203.0.113.{number}" for number in range(1, 255) if f"source 203.0.113.{number}" not in firing]
    source = random.choice(places)  # noqa: S311 - nothing is secret here
    about = f"source {source}"
    begun = datetime.now(UTC)
    await _fail_to_sign_in(door, source)

    async def fired() -> dict[str, Any] | None:
        found = [alert for alert in await _alerts(door, LOGIN_RULE) if alert["about"] == about and alert["fired_at"]]
        return next((alert for alert in found if datetime.fromisoformat(alert["fired_at"]) >= begun), None)

    alert = await until(fired)
    where = "GET /v1/alerts, GET /v1/users/…/inbox"
    if not alert:
        return Part(name="Failed logins", shown=False, says=f"{FAILURES} failures, and no alert", where=where)
    # Again, now that everybody knows.
    await _fail_to_sign_in(door, source)

    async def noticed() -> list[str]:
        return [
            item["title"] for item in await _inbox(door, since=begun) if source in f"{item['title']} {item['body']}"
        ]

    async def seen_again() -> bool:
        found = await door.get(f"/v1/alerts/{alert['id']}")
        return bool(found["evidence"].get("failures", 0) >= 2 * FAILURES)

    await until(seen_again)
    notices = await until(noticed)
    return Part(
        name="Failed logins",
        shown=len(notices) == 1,
        says=f"{2 * FAILURES} failures from {source}: one alert, the administrator was told {_times(len(notices))}",
        where=where,
    )


async def _fail_to_sign_in(door: Door, source: str) -> None:
    batch = [
        {
            "type": "track",
            "event": "login.failed",
            "userId": f"account-{source}-{number}",
            "properties": {"source": source, "account": f"account-{source}-{number}"},
        }
        for number in range(FAILURES)
    ]
    await door.ask("POST", "/v1/batch", {"batch": batch})


async def memory_alert(door: Door) -> Part:
    """Set the memory rule so that it must fire, set it back, and see it resolve."""
    where = f"PUT /v1/alerts/rules/{MEMORY_RULE}, GET /v1/alerts"
    name = "Memory alert"
    rules = {rule["name"]: rule for rule in (await door.get("/v1/alerts/rules"))["rules"]}
    if MEMORY_RULE not in rules:
        return Part(name=name, shown=False, says="only the house's own application may set it", where=where)
    before = rules[MEMORY_RULE]
    if await _firing(door):
        return Part(name=name, shown=False, says="it fires already: memory is really low here", where=where)
    begun = datetime.now(UTC)
    own = {name: value for name, value in before["settings"].items() if value != before["defaults"].get(name)}
    try:
        # Less than all of it is always available.
        await _set(door, {**own, "fires_below": 1.0, "hold_seconds": 0.0})
        fired = await until(lambda: _firing(door))
    finally:
        await asyncio.shield(_set(door, own))
    if not fired:
        return Part(name=name, shown=False, says="it has not fired with a threshold of 100 %", where=where)

    async def resolved() -> bool:
        found = [await door.get(f"/v1/alerts/{alert['id']}") for alert in fired]
        return all(alert["state"] == "resolved" for alert in found)

    async def notices() -> list[str]:
        hosts = [alert["about"] for alert in fired]
        found = await _inbox(door, since=begun)
        told = [item["title"] for item in found if any(host in item["body"] for host in hosts)]
        return told if len(told) >= 2 * len(fired) else []

    over = await until(resolved)
    told = await until(notices)
    return Part(
        name=name,
        shown=over and len(told) == 2 * len(fired),
        says="fired with a threshold set for the demo"
        + (", resolved when it was set back" if over else ", NOT resolved when it was set back")
        + f"; {len(told)} notices",
        where=where,
    )


async def _set(door: Door, settings: Mapping[str, float]) -> None:
    await door.ask("PUT", f"/v1/alerts/rules/{MEMORY_RULE}", {"settings": settings}, headers={"Prefer": "wait=10"})


async def _firing(door: Door) -> list[dict[str, Any]]:
    return [alert for alert in await _alerts(door, MEMORY_RULE) if alert["state"] == "firing"]


async def _alerts(door: Door, rule: str) -> list[dict[str, Any]]:
    return [alert for alert in (await door.get("/v1/alerts?limit=100"))["alerts"] if alert["rule"] == rule]


async def _inbox(door: Door, *, since: datetime) -> list[dict[str, Any]]:
    """The administrator's items of this run."""
    found: list[dict[str, Any]] = []
    after = ""
    for _ in range(MOST_INBOX_PAGES):
        page = await door.get(f"/v1/users/{ADMINISTRATOR}/inbox?limit=100{after}")
        new = [item for item in page["items"] if datetime.fromisoformat(item["created_at"]) >= since]
        found += new
        if len(new) < len(page["items"]) or page["next"] is None:
            break
        after = f"&after={page['next']}"
    return found


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
    bought = [f"{row['name'] or row['item']} ({float(row['amount']):,.0f})" for row in purchases["rows"]]
    tracked = f"{orders['count']:,} orders tracked, {float(orders['amount']):,.0f} in all: "
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


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
