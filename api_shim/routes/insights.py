"""What many people did: searches, pages, views and purchases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import falcon.asgi
import msgspec

from api_shim.asked import page_limit
from api_shim.caller import utc_now
from api_shim.contract import Answer, Parameter, limit, speaks
from api_shim.door import Door, allow
from backroom.domain.dwell import dwell
from backroom.domain.errors import Invalid
from backroom.store.read import Reader
from backroom.store.rows_insights import Counted

LONGEST = timedelta(days=400)
USUAL = timedelta(days=29)
FIRST_YEAR = 1970


class OrderTotals(msgspec.Struct):
    """The orders of these days.

    Attributes:
        count: How many.
        people: By how many people, each counted once a day.
        amount: What they paid, in whatever currencies.
    """

    count: int
    people: int
    amount: float


class Ranking(msgspec.Struct, omit_defaults=True, rename={"first": "from", "last": "to"}):
    """The most frequent of something, over some days.

    Attributes:
        first: The first day (UTC).
        last: The last day.
        rows: Most frequent first; what a row has depends on what was counted.
        people_counted: `once_a_day`: somebody who came on three of the days counts as three.
        days_waiting_to_be_counted: Days whose events have changed since they were counted.
        orders: The orders beside the purchases.
        says: What to do where there are no rows.
    """

    first: str
    last: str
    rows: list[dict[str, Any]]
    people_counted: Literal["once", "once_a_day"]
    days_waiting_to_be_counted: int
    orders: OrderTotals | None = None
    says: str | None = None


_DAY = {"type": "string", "format": "date"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One kind of insight.

    Attributes:
        metric: What is counted.
        also: What is counted beside it.
        show: A row, as the door says it.
        empty: What to do when there are no rows.
    """

    metric: str
    also: str
    show: Callable[[Counted], dict[str, Any]]
    empty: str


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {f"/v1/insights/{name}": Insight(door, report) for name, report in REPORTS.items()}


class Insight:
    """The most frequent of something, over some days."""

    def __init__(self, door: Door, report: Report) -> None:
        self._door = door
        self._report = report

    @allow("app")
    @speaks(
        asks=[
            Parameter(name="from", place="query", about="The first day (UTC).", schema=_DAY),
            Parameter(name="to", place="query", about="The last day; today if left out.", schema=_DAY),
            limit(),
        ],
        gives={200: Answer(about="The rows.", body=Ranking)},
    )
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The rows, most frequent first, from a day to a day (UTC, both included; the last thirty days if left out)."""
        today = utc_now().date()
        last = _day(req, "to") or today
        first = _day(req, "from") or last - USUAL
        if not first <= last or last - first > LONGEST:
            raise Invalid("/from", "is not a span of days", f"at most {LONGEST.days} days, and not after `to`")
        most = page_limit(req)
        report = self._report

        def ask(read: Reader) -> tuple[list[Counted], list[Counted], int]:
            insights = read.insights
            rows = insights.top(report.metric, first=first, last=last, limit=most, also=report.also)
            orders = insights.top("order", first=first, last=last, limit=1) if report.metric == "purchase" else []
            return rows, orders, insights.count_stale(first=first, last=last)

        rows, orders, waiting = await self._door.ask(req.context.caller, ask)
        answer = Ranking(
            first=first.isoformat(),
            last=last.isoformat(),
            rows=[report.show(row) for row in rows],
            # Somebody who came on three of the days was counted on each.
            people_counted="once" if first == last else "once_a_day",
            days_waiting_to_be_counted=waiting,
        )
        if report.metric == "purchase":
            order = orders[0] if orders else None
            answer.orders = OrderTotals(
                count=order.count if order else 0,
                people=order.people if order else 0,
                amount=order.amount if order else 0,
            )
        if not rows:
            answer.says = (
                "Events have come in and are counted within a minute." if waiting else f"Nothing yet. {report.empty}"
            )
        resp.data = msgspec.json.encode(answer)


def _day(req: falcon.asgi.Request, name: str) -> date | None:
    text = req.get_param(name)
    if text is None:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"/{name}", "is not a day", "YYYY-MM-DD") from error
    if found.year < FIRST_YEAR:
        raise Invalid(f"/{name}", "is before there were events", f"{FIRST_YEAR}-01-01 or later")
    return found


def _search(row: Counted) -> dict[str, Any]:
    return {"query": row.about, "count": row.count, "people": row.people, "without_results": row.also}


def _page(row: Counted) -> dict[str, Any]:
    told = dwell(seconds=row.seconds, timed=row.timed, views=row.count)
    return {
        "page": row.about,
        "count": row.count,
        "people": row.people,
        "mean_seconds": told.mean_seconds,
        "time_known_for": told.coverage,
    }


def _view(row: Counted) -> dict[str, Any]:
    return {"item": row.about, "name": row.name or None, "count": row.count, "people": row.people}


def _purchase(row: Counted) -> dict[str, Any]:
    return {**_view(row), "quantity": row.also, "amount": row.amount}


REPORTS = {
    "searches": Report(
        metric="search",
        also="search.empty",
        show=_search,
        empty="Send `Products Searched` with `query` (and `results`, how many were found) to /v1/track.",
    ),
    "pages": Report(
        metric="page", also="", show=_page, empty="Send each page that is looked at to /v1/page, with `url` or `path`."
    ),
    "views": Report(
        metric="view", also="", show=_view, empty="Send `Product Viewed` with `product_id` to /v1/track."
    ),
    "purchases": Report(
        metric="purchase",
        also="purchase.units",
        show=_purchase,
        empty="Send `Order Completed` with `products` (`product_id`, `price`, `quantity`) to /v1/track.",
    ),
}  # fmt: skip
