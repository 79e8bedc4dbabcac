"""Worries the house on purpose: somebody tries passwords, memory seems to run low; and sees who is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backroom.cli._demo_door import Door
from backroom.cli._demo_parts import Part, until
from backroom.cli._demo_people import ADMINISTRATOR

LOGIN_RULE, MEMORY_RULE = "login.suspicious", "memory.low"
FAILURES = 12
MOST_INBOX_PAGES = 20


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


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
