"""Questions about what many people did, answered from the days' counts."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, and_, func, select

from backroom.store.rows_insights import Counted, StaleDay
from backroom.store.tables import daily_counts, items, stale_days


class InsightQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def top(self, metric: str, *, first: date, last: date, limit: int, also: str = "") -> list[Counted]:
        """What was counted most.

        Args:
            metric: What of.
            first: The first day.
            last: The last day, which is in it.
            limit: How many rows at most.
            also: A second metric, whose count of the same thing stands beside the first.
        """
        day, is_it = daily_counts.c, daily_counts.c.metric == metric
        count = func.coalesce(func.sum(day.count).filter(is_it), 0)
        query = (
            select(
                day.dimension,
                func.coalesce(func.max(items.c.name), "").label("name"),
                count.label("count"),
                func.coalesce(func.sum(day.people).filter(is_it), 0).label("people"),
                func.coalesce(func.sum(day.seconds).filter(is_it), 0).label("seconds"),
                func.coalesce(func.sum(day.timed).filter(is_it), 0).label("timed"),
                func.coalesce(func.sum(day.amount).filter(is_it), 0).label("amount"),
                func.coalesce(func.sum(day.count).filter(day.metric == also), 0).label("also"),
            )
            .join(items, and_(items.c.app_id == day.app_id, items.c.id == day.dimension), isouter=True)
            .where(day.app_id == self._app, day.day.between(first, last), day.metric.in_((metric, also)))
            .group_by(day.dimension)
            .having(count > 0)
            .order_by(count.desc(), day.dimension)
            .limit(limit)
        )
        return [
            Counted(
                about=row.dimension,
                name=row.name,
                count=int(row[2]),
                people=int(row.people),
                seconds=float(row.seconds),
                timed=int(row.timed),
                amount=float(row.amount),
                also=int(row.also),
            )
            for row in self._connection.execute(query)
        ]

    def stale_days(self, *, limit: int) -> list[StaleDay]:
        """Days whose counts no longer agree with their events: the newest first, for somebody looks at those."""
        query = (
            select(stale_days.c.day, stale_days.c.marked_at)
            .where(stale_days.c.app_id == self._app)
            .order_by(stale_days.c.day.desc())
            .limit(limit)
        )
        return [StaleDay(day=row.day, marked_at=row.marked_at) for row in self._connection.execute(query)]

    def count_stale(self, *, first: date, last: date) -> int:
        """How many of these days wait to be counted again."""
        query = select(func.count()).where(stale_days.c.app_id == self._app, stale_days.c.day.between(first, last))
        return self._connection.scalar(query) or 0
