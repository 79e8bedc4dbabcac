"""Changes to the days' counts: a day is always counted whole, so counting it again is safe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, select, text

from backroom.domain.dwell import LONGEST_GAP
from backroom.store.engine import LONGER
from backroom.store.rows_insights import StaleDay
from backroom.store.tables import daily_counts, stale_days

_SEARCHES = text(r"""
    WITH searches AS (
        SELECT left(lower(btrim(regexp_replace(e.properties ->> 'query', '\s+', ' ', 'g'))), 200) AS query,
               person_of(e.user_id, i.user_id, e.anonymous_id) AS person,
               e.properties -> 'results' = '0'::jsonb AS found_nothing
        FROM events e LEFT JOIN identities i ON i.app_id = e.app_id AND i.anonymous_id = e.anonymous_id
        WHERE e.app_id = :app AND e.at >= :start AND e.at < :stop
          AND e.kind = 'track' AND lower(e.name) = 'products searched'
    )
    INSERT INTO daily_counts (app_id, day, metric, dimension, count, people)
    SELECT :app, :day, 'search', query, count(*), count(DISTINCT person)
    FROM searches WHERE query <> '' GROUP BY query
    UNION ALL
    SELECT :app, :day, 'search.empty', query, count(*), count(DISTINCT person)
    FROM searches WHERE query <> '' AND found_nothing GROUP BY query
""")
# The time on a page: what the page itself measured, or else the time until the same visitor's next page. After the
# longest gap the visitor was away, so how long the last page was looked at is unknown: NULL, which no sum takes for 0.
_PAGES = text("""
    WITH seen AS (
        SELECT e.at,
               left(coalesce(nullif(e.properties ->> 'path', ''), nullif(e.name, ''), '/'), 500) AS path,
               person_of(e.user_id, i.user_id, e.anonymous_id) AS person,
               CASE WHEN jsonb_typeof(e.properties -> 'engagement_ms') = 'number'
                    THEN least(greatest((e.properties ->> 'engagement_ms')::numeric, 0), 86400000) / 1000
               END AS measured,
               lead(e.at) OVER (
                   PARTITION BY coalesce(nullif(e.anonymous_id, ''), 'u:' || e.user_id)
                   ORDER BY e.at, e.received_at, e.message_id
               ) AS next_at
        FROM events e LEFT JOIN identities i ON i.app_id = e.app_id AND i.anonymous_id = e.anonymous_id
        WHERE e.app_id = :app AND e.at >= :start AND e.at < CAST(:stop AS timestamptz) + :gap
          AND e.kind IN ('page', 'screen')
    ), timed AS (
        SELECT path, person,
               coalesce(measured, CASE WHEN next_at - at <= :gap THEN extract(epoch FROM next_at - at) END) AS seconds
        FROM seen WHERE at < :stop
    )
    INSERT INTO daily_counts (app_id, day, metric, dimension, count, people, seconds, timed)
    SELECT :app, :day, 'page', path, count(*), count(DISTINCT person), coalesce(sum(seconds), 0), count(seconds)
    FROM timed GROUP BY path
""")
_ITEMS = text("""
    WITH touched AS (
        SELECT t.kind, t.item, t.quantity, t.amount, person_of(t.user_id, i.user_id, t.anonymous_id) AS person
        FROM item_events t LEFT JOIN identities i ON i.app_id = t.app_id AND i.anonymous_id = t.anonymous_id
        WHERE t.app_id = :app AND t.at >= :start AND t.at < :stop
    )
    INSERT INTO daily_counts (app_id, day, metric, dimension, count, people, amount)
    SELECT :app, :day, 'view', item, count(*), count(DISTINCT person), 0
    FROM touched WHERE kind = 'viewed' GROUP BY item
    UNION ALL
    SELECT :app, :day, 'purchase', item, count(*), count(DISTINCT person), least(sum(amount), 1e15)
    FROM touched WHERE kind = 'bought' GROUP BY item
    UNION ALL
    SELECT :app, :day, 'purchase.units', item, sum(quantity), 0, 0
    FROM touched WHERE kind = 'bought' GROUP BY item
""")
# What was paid for an order is its total; without one, or with one that is no number, what its lines come to.
_ORDERS = text(r"""
    WITH orders AS (
        SELECT person_of(e.user_id, i.user_id, e.anonymous_id) AS person,
               coalesce(
                   CASE WHEN e.properties ->> 'total' ~ '^[0-9]{1,12}(\.[0-9]{1,15})?$'
                        THEN (e.properties ->> 'total')::numeric END,
                   (SELECT sum(t.amount) FROM item_events t
                    WHERE t.app_id = e.app_id AND t.message_id = e.message_id AND t.kind = 'bought'),
                   0
               ) AS amount
        FROM events e LEFT JOIN identities i ON i.app_id = e.app_id AND i.anonymous_id = e.anonymous_id
        WHERE e.app_id = :app AND e.at >= :start AND e.at < :stop
          AND e.kind = 'track' AND lower(e.name) = 'order completed'
    )
    INSERT INTO daily_counts (app_id, day, metric, dimension, count, people, amount)
    SELECT :app, :day, 'order', '', count(*), count(DISTINCT person), least(sum(amount), 1e15)
    FROM orders HAVING count(*) > 0
""")


class InsightChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def count_day(self, stale: StaleDay) -> None:
        """Count a day whole, and take its mark away unless it was marked again meanwhile."""
        self._connection.execute(LONGER)
        # One at a time: two that count the same day would both write its rows.
        key = func.hashtextextended(f"count_day:{self._app}:{stale.day}", 0)
        self._connection.execute(select(func.pg_advisory_xact_lock(key)))
        start = datetime.combine(stale.day, datetime.min.time(), tzinfo=UTC)
        parameters = {"app": self._app, "day": stale.day, "start": start, "stop": start + timedelta(days=1)}
        day = daily_counts.c
        self._connection.execute(delete(daily_counts).where(day.app_id == self._app, day.day == stale.day))
        self._connection.execute(_SEARCHES, parameters)
        self._connection.execute(_PAGES, {**parameters, "gap": LONGEST_GAP})
        self._connection.execute(_ITEMS, parameters)
        self._connection.execute(_ORDERS, parameters)
        # Last, because whoever records events of this day waits for the mark from here until we commit. Events that
        # were recorded while we counted have moved the mark, so it stays for the next run.
        mark = stale_days.c
        self._connection.execute(
            delete(stale_days).where(mark.app_id == self._app, mark.day == stale.day, mark.marked_at == stale.marked_at)
        )
