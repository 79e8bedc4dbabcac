"""Changes to what happened: events, who did them, and what they say about items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg import Error
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Date, Text

from backroom.domain.errors import StoreAway
from backroom.domain.event import Event
from backroom.domain.item import Item, Touch
from backroom.store.engine import is_away, refuse

if TYPE_CHECKING:
    from psycopg import Connection as RawConnection

# COPY cannot leave out what is there already, and may not write to a table that has policies.
_ARRIVING = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS arriving_events (
        message_id text, kind text, name text, user_id text, anonymous_id text, properties jsonb, context jsonb,
        at timestamptz, received_at timestamptz, original_at timestamptz, sent_at timestamptz, clamped boolean
    ) ON COMMIT DELETE ROWS
""")
_COPY = "COPY arriving_events FROM STDIN"
# In the order of their ids, so that two batches with the same events wait for each other instead of for ever.
_ADD = text("""
    INSERT INTO events (app_id, message_id, kind, name, user_id, anonymous_id, properties, context,
                        at, received_at, original_at, sent_at, clamped)
    SELECT :app, arriving.* FROM arriving_events AS arriving ORDER BY message_id
    ON CONFLICT (app_id, message_id) DO NOTHING
    RETURNING message_id
""")
_LINK = text("""
    INSERT INTO identities (app_id, anonymous_id, user_id)
    SELECT :app, wanted.anonymous_id, wanted.user_id
    FROM unnest(:anonymous, :users) AS wanted (anonymous_id, user_id)
    WHERE NOT EXISTS (SELECT FROM users WHERE app_id = :app AND id = wanted.anonymous_id)
      AND NOT EXISTS (SELECT FROM identities i WHERE i.app_id = :app AND i.user_id = wanted.anonymous_id)
      AND NOT EXISTS (SELECT FROM events e WHERE e.app_id = :app AND e.user_id = wanted.anonymous_id)
    ORDER BY wanted.anonymous_id
    ON CONFLICT (app_id, anonymous_id) DO NOTHING
    RETURNING anonymous_id
""").bindparams(bindparam("anonymous", type_=ARRAY(Text)), bindparam("users", type_=ARRAY(Text)))
_DESCRIBE = text("""
    INSERT INTO items AS known (app_id, id, name, category, price, currency, url, seen_at)
    SELECT :app, told.* FROM unnest(
        CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:categories AS text[]), CAST(:prices AS numeric[]),
        CAST(:currencies AS text[]), CAST(:urls AS text[]), CAST(:seen AS timestamptz[])
    ) AS told (id, name, category, price, currency, url, seen_at)
    ORDER BY told.id
    ON CONFLICT (app_id, id) DO UPDATE SET
        name = coalesce(nullif(excluded.name, ''), known.name),
        category = coalesce(nullif(excluded.category, ''), known.category),
        price = coalesce(excluded.price, known.price),
        currency = coalesce(nullif(excluded.currency, ''), known.currency),
        url = coalesce(nullif(excluded.url, ''), known.url),
        seen_at = excluded.seen_at
    WHERE excluded.seen_at > known.seen_at
""")
_TOUCH = text("""
    INSERT INTO item_events (app_id, message_id, kind, item, user_id, anonymous_id, quantity, amount, at)
    SELECT :app, touched.* FROM unnest(
        CAST(:messages AS text[]), CAST(:kinds AS text[]), CAST(:items AS text[]), CAST(:users AS text[]),
        CAST(:visitors AS text[]), CAST(:quantities AS bigint[]), CAST(:amounts AS numeric[]),
        CAST(:moments AS timestamptz[])
    ) AS touched
    ON CONFLICT DO NOTHING
""")
# Each mark is later than the one before it, so that a rollup sees that its day was marked again while it counted.
_MARK = text("""
    INSERT INTO stale_days AS mark (app_id, day, marked_at)
    SELECT :app, day, clock_timestamp() FROM unnest(:days) AS day ORDER BY day
    ON CONFLICT (app_id, day) DO UPDATE
        SET marked_at = greatest(excluded.marked_at, mark.marked_at + interval '1 microsecond')
""").bindparams(bindparam("days", type_=ARRAY(Date)))


class EventChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def add(self, events: Sequence[Event]) -> list[str]:
        """Write events that are not there yet.

        Returns:
            The ids of those that were not.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        if not events:
            return []
        self._connection.execute(_ARRIVING)
        raw: RawConnection[Any] | None = self._connection.connection.driver_connection
        assert raw is not None
        try:
            with raw.cursor() as cursor, cursor.copy(_COPY) as copy:
                for event in events:
                    copy.write_row(_row(event))
        except Error as error:
            if is_away(error):
                raise StoreAway("PostgreSQL does not answer") from error
            refuse(error)
            raise
        return list(self._connection.scalars(_ADD, {"app": self._app}))

    def link(self, wanted: Mapping[str, str]) -> list[str]:
        """Join visitors to users, unless a visitor is somebody already.

        Returns:
            The visitors that were joined.
        """
        parameters = {"app": self._app, "anonymous": list(wanted), "users": list(wanted.values())}
        return list(self._connection.scalars(_LINK, parameters))

    def describe(self, items: Iterable[tuple[datetime, Item]]) -> None:
        """Keep what was last said about items."""
        # Later ones over earlier ones; a statement may touch a row once only.
        told = {item.id: (at, item) for at, item in sorted(items, key=lambda one: one[0])}
        if not told:
            return
        parameters = {
            "app": self._app,
            "ids": list(told),
            "names": [item.name for _, item in told.values()],
            "categories": [item.category for _, item in told.values()],
            "prices": [item.price for _, item in told.values()],
            "currencies": [item.currency for _, item in told.values()],
            "urls": [item.url for _, item in told.values()],
            "seen": [at for at, _ in told.values()],
        }
        self._connection.execute(_DESCRIBE, parameters)

    def touch(self, touches: Sequence[tuple[Event, Touch]]) -> None:
        """Write which items were viewed and bought."""
        if not touches:
            return
        parameters = {
            "app": self._app,
            "messages": [event.id for event, _ in touches],
            "kinds": [touch.kind for _, touch in touches],
            "items": [touch.item for _, touch in touches],
            "users": [event.user for event, _ in touches],
            "visitors": [event.anonymous for event, _ in touches],
            "quantities": [touch.quantity for _, touch in touches],
            "amounts": [touch.amount for _, touch in touches],
            "moments": [event.at for event, _ in touches],
        }
        self._connection.execute(_TOUCH, parameters)

    def mark_stale(self, days: Iterable[date]) -> None:
        """Say that these days' counts no longer agree with their events."""
        if wanted := sorted(days):
            self._connection.execute(_MARK, {"app": self._app, "days": wanted})


def _row(event: Event) -> tuple[object, ...]:
    return (
        event.id,
        event.kind,
        event.name,
        event.user,
        event.anonymous,
        msgspec.json.encode(event.properties).decode(),
        msgspec.json.encode(event.context).decode(),
        event.at,
        event.received_at,
        event.original_at,
        event.sent_at,
        event.clamped,
    )
