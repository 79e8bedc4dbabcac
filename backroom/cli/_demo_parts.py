"""What it takes to show a part besides notifications, and the first of them: the orders that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

from backroom.cli._demo_door import Door

T = TypeVar("T")

ASK_EVERY = timedelta(milliseconds=300)
SOON = timedelta(seconds=45)


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
