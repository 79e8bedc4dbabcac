"""What many people did: searches, pages, views and purchases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import falcon.asgi
import msgspec

from api_shim.asked import page_limit
from api_shim.caller import utc_now
from api_shim.door import Door, allow
from backroom.domain.dwell import dwell
from backroom.domain.errors import Invalid
from backroom.store.read import Reader
from backroom.store.rows_insights import Counted

LONGEST = timedelta(days=400)
USUAL = timedelta(days=29)
FIRST_YEAR = 1970


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
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The rows, most frequent first, from a day to a day (UTC, both included; the last thirty days if left out)."""
        today = utc_now().date()
        last = _day(req, "to") or today
        first = _day(req, "from") or last - USUAL
        if not first <= last or last - first > LONGEST:
            raise Invalid("/from", "is not a span of days", f"at most {LONGEST.days} days, and not after `to`")
        limit = page_limit(req)
        report = self._report

        def ask(read: Reader) -> tuple[list[Counted], list[Counted], int]:
            insights = read.insights
            rows = insights.top(report.metric, first=first, last=last, limit=limit, also=report.also)
            orders = insights.top("order", first=first, last=last, limit=1) if report.metric == "purchase" else []
            return rows, orders, insights.count_stale(first=first, last=last)

        rows, orders, waiting = await self._door.ask(req.context.caller, ask)
        answer: dict[str, Any] = {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "rows": [report.show(row) for row in rows],
            # Somebody who came on three of the days was counted on each.
            "people_counted": "once" if first == last else "once_a_day",
            "days_waiting_to_be_counted": waiting,
        }
        if report.metric == "purchase":
            order = orders[0] if orders else None
            answer["orders"] = {
                "count": order.count if order else 0,
                "people": order.people if order else 0,
                "amount": order.amount if order else 0,
            }
        if not rows:
            answer["says"] = (
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
