"""Plays a shop on the real API: what its web application would send while people look around and buy."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from backroom.cli._demo_door import Door, TurnedAway
from backroom.cli._demo_orders import Order
from backroom.cli._demo_people import profile
from backroom.cli._demo_sessions import Sessions
from backroom.cli._demo_settling import Settling
from backroom.cli._demo_shop import Look, Visit

AT_ONCE = 16
EVENTS_TOGETHER = 200
# An event has at most 32 KiB; the rest of a longer order is in its record.
MOST_PRODUCTS_BYTES = 30_000
MOST_SESSIONS = 200
CURRENCY = "GBP"
URL = "https://shop.example/products/"


class Play:
    """One run.

    Args:
        door: Where to.
        settling: Told of every notification that was accepted.
        sessions: Of the visitors.
        magical: Whether some letters may go wrong.
        run: Set, nothing counts as sent before; empty, what was sent before is not sent again.
        stop: Set, no further order is begun.
    """

    def __init__(
        self, door: Door, *, settling: Settling, sessions: Sessions, magical: bool, run: str, stop: asyncio.Event
    ) -> None:
        self.orders = 0
        self.again = 0
        self.turned_away: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self.records: defaultdict[str, set[str]] = defaultdict(set)
        self.events = 0
        self._door = door
        self._settling = settling
        self._sessions = sessions
        self._magical = magical
        self._run = run
        self._stop = stop
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._customers: dict[str, asyncio.Task[None]] = {}
        self._guests = 0
        self._events: list[dict[str, Any]] = []

    async def replay(self, orders: Iterable[Order], *, speed_up: float) -> None:
        """Send the orders of a file, each at its time or as fast as they are accepted.

        Args:
            orders: In the order of their times.
            speed_up: How much faster than in the file; 0 for as fast as possible.
        """
        began, first = asyncio.get_running_loop().time(), None
        async with asyncio.TaskGroup() as group:
            for order in orders:
                first = first or order.at
                if speed_up:
                    await self._pause_until(began + (order.at - first).total_seconds() / speed_up)
                if self._stop.is_set():
                    break
                await self._begin(group, order, [bought(order, at=None)])
        await self._send_events()

    async def open_shop(self, visits: Iterable[Visit]) -> None:
        """Let everybody come."""
        async with asyncio.TaskGroup() as group:
            for visit in visits:
                if self._stop.is_set():
                    break
                events = footprints(visit)
                if visit.order:
                    await self._begin(group, visit.order, [*events, bought(visit.order, at=visit.order.at)])
                else:
                    await self._keep_events(events)
        await self._send_events()

    async def _pause_until(self, moment: float) -> None:
        pause = moment - asyncio.get_running_loop().time()
        if pause > 0:
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([stopped], timeout=pause)
            stopped.cancel()

    async def _begin(self, group: asyncio.TaskGroup, order: Order, events: list[dict[str, Any]]) -> None:
        self.orders += 1
        self._guests += not order.customer
        guest = 0 if order.customer else self._guests
        await self._slots.acquire()
        group.create_task(self._order(order, guest=guest, events=events))

    async def _order(self, order: Order, *, guest: int, events: list[dict[str, Any]]) -> None:
        try:
            await self._introduce(order, guest=guest)
            if self._sessions.opened < MOST_SESSIONS:
                await self._sessions.open(order.user, [line.sku for line in order.lines])
            await self._keep(order)
            await self._keep_events(events)
            await self._tell(order)
        except TurnedAway as error:
            self.turned_away[str(error)] += 1
        finally:
            self._slots.release()

    async def _introduce(self, order: Order, *, guest: int) -> None:
        """See to it that the door knows the customer before anything is sent to them."""
        about = profile(order, guest=guest, magical=self._magical)
        if guest:
            await self._put_user(order.user, about)
            return
        # One request for each customer, and every order of theirs waits for it.
        if order.user not in self._customers:
            self._customers[order.user] = asyncio.create_task(self._put_user(order.user, about))
        await self._customers[order.user]

    async def _put_user(self, user: str, about: Mapping[str, Any]) -> None:
        await self._door.ask("PUT", f"/v1/users/{quote(user)}", about)

    async def _keep(self, order: Order) -> None:
        number = order.number
        if number in self.records[order.user]:
            # An invoice whose lines do not stand together: it goes on later.
            number = f"{number}-{order.at:%H%M%S}"
        self.records[order.user].add(number)
        document = {
            "order": order.number,
            "at": order.at.isoformat(),
            "country": order.country,
            "currency": CURRENCY,
            "total": order.total,
            "lines": [[line.sku, line.quantity, line.price] for line in order.lines],
        }
        await self._door.ask("PUT", f"/v1/records/orders/{quote(number)}?owner={quote(order.user)}", document)

    async def _tell(self, order: Order) -> None:
        document = letter(order)
        key = hashlib.sha256(msgspec.json.encode(document) + self._run.encode()).hexdigest()[:40]
        answer = await self._door.ask("POST", "/v1/notifications", document, headers={"Idempotency-Key": f"demo-{key}"})
        self.again += answer.headers.get("idempotent-replayed") == "true"
        self._settling.expect(answer.document()["id"])

    async def _keep_events(self, events: list[dict[str, Any]]) -> None:
        self._events += events
        if len(self._events) >= EVENTS_TOGETHER:
            await self._send_events()

    async def _send_events(self) -> None:
        events, self._events = self._events, []
        for start in range(0, len(events), EVENTS_TOGETHER):
            part = events[start : start + EVENTS_TOGETHER]
            for event in part:
                self.cut.update(event.pop("cut", ()))
            answer = (await self._door.ask("POST", "/v1/batch", {"batch": part})).document()
            rejected = answer.get("rejected", [])
            self.events += len(part) - len(rejected)
            self.turned_away.update(f"event: {one['wrong']}"[:200] for one in rejected)


def letter(order: Order) -> dict[str, Any]:
    """The notification of an order."""
    return {
        "type": "order_shipped",
        "to": [order.user],
        "data": {
            "order": order.number,
            "currency": CURRENCY,
            "lines": [
                {"sku": line.sku, "name": line.name, "quantity": line.quantity, "price": line.price}
                for line in order.lines
            ],
            "shipped_at": order.at.isoformat(),
        },
    }


def bought(order: Order, *, at: datetime | None) -> dict[str, Any]:
    """The event of an order; one that happens now has no time of its own."""
    products: list[dict[str, Any]] = []
    size = 0
    for line in order.lines:
        product = {"product_id": line.sku, "name": line.name, "price": line.price, "quantity": line.quantity}
        product |= {"category": line.category, "url": f"{URL}{line.sku.lower()}"} if line.category else {}
        size += len(msgspec.json.encode(product)) + 1
        if size > MOST_PRODUCTS_BYTES:
            break
        products.append(product)
    properties = {"order_id": order.number, "total": order.total, "currency": CURRENCY, "products": products}
    event = _track(f"order-{order.number}-{order.at:%H%M%S}", order.user, "Order Completed", properties, at)
    left = len(order.lines) - len(products)
    return event | ({"cut": {"lines of orders that are longer than an event": left}} if left else {})


def footprints(visit: Visit) -> list[dict[str, Any]]:
    """What a website tells while somebody looks around."""
    found: list[dict[str, Any]] = []
    at = visit.at
    for step, look in enumerate(visit.looks):
        # A page's properties hold how long it was looked at: the last one of a visit has no next.
        properties = {"path": look.path, "engagement_ms": look.lasted // timedelta(milliseconds=1)}
        found.append(_event(f"visit-{visit.id}-{step}-page", visit.user, "page", properties, at))
        found += _done(look, visit, step, at)
        at += look.lasted
    return found


def _done(look: Look, visit: Visit, step: int, at: datetime) -> Iterable[dict[str, Any]]:
    if look.searched:
        properties: dict[str, Any] = {"query": look.searched, "results": look.results}
        yield _track(f"visit-{visit.id}-{step}-search", visit.user, "Products Searched", properties, at)
    if product := look.product:
        properties = {
            "product_id": product.sku,
            "name": product.name,
            "category": product.category,
            "price": product.price,
            "currency": CURRENCY,
            "url": f"{URL}{product.sku.lower()}",
        }
        yield _track(f"visit-{visit.id}-{step}-view", visit.user, "Product Viewed", properties, at)


def _track(id: str, user: str, name: str, properties: Mapping[str, Any], at: datetime | None) -> dict[str, Any]:
    return {"event": name, **_event(id, user, "track", properties, at)}


def _event(id: str, user: str, kind: str, properties: Mapping[str, Any], at: datetime | None) -> dict[str, Any]:
    said = {"type": kind, "messageId": f"demo-{id}", "userId": user, "properties": properties}
    return said | ({"timestamp": at.astimezone(UTC).isoformat()} if at else {})
