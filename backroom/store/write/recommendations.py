"""Changes to what goes together, to what is popular, and to what was shown to whom."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from backroom.store.tables import shown_items

# Somebody who has looked at everything says nothing about what goes together, and costs the square of it.
MOST_OF_A_PERSON = 100
FEWEST_PEOPLE = 2
MOST_OF_AN_ITEM = 50

_LONGER = text("SET LOCAL statement_timeout = '4min'")
_FORGET = text("DELETE FROM item_pairs WHERE app_id = :app AND kind = :kind")
# How far the same people had to do with both of two items, as a cosine: together / sqrt(people of one * of the other).
_PAIR = text("""
    WITH touched AS (
        SELECT person_of(t.user_id, i.user_id, t.anonymous_id) AS person, t.item, max(t.at) AS at
        FROM item_events t LEFT JOIN identities i ON i.app_id = t.app_id AND i.anonymous_id = t.anonymous_id
        WHERE t.app_id = :app AND t.kind = :kind AND t.at >= :since
        GROUP BY 1, 2
    ), ranked AS (
        SELECT person, item, row_number() OVER (PARTITION BY person ORDER BY at DESC, item) AS nth FROM touched
    ), kept AS MATERIALIZED (
        SELECT person, item FROM ranked WHERE nth <= :most_of_a_person
    ), known AS MATERIALIZED (
        SELECT item, count(*) AS people FROM kept GROUP BY item HAVING count(*) >= :fewest_people
    ), half AS (
        SELECT a.item, b.item AS other, count(*) AS together
        FROM kept a JOIN kept b ON b.person = a.person AND b.item > a.item
        GROUP BY 1, 2 HAVING count(*) >= :fewest_people
    ), both_ways AS (
        SELECT item, other, together FROM half UNION ALL SELECT other, item, together FROM half
    ), scored AS (
        SELECT p.item, p.other, p.together, p.together / sqrt(CAST(x.people AS double precision) * y.people) AS score
        FROM both_ways p JOIN known x ON x.item = p.item JOIN known y ON y.item = p.other
    ), best AS (
        SELECT *, row_number() OVER (PARTITION BY item ORDER BY score DESC, together DESC, other) AS nth FROM scored
    )
    INSERT INTO item_pairs (app_id, item, other, kind, together, score)
    SELECT :app, item, other, :kind, together, score FROM best WHERE nth <= :most_of_an_item
""")
_COUNT_PEOPLE = text("""
    WITH counted AS (
        SELECT t.item, count(DISTINCT person_of(t.user_id, i.user_id, t.anonymous_id)) AS people
        FROM item_events t LEFT JOIN identities i ON i.app_id = t.app_id AND i.anonymous_id = t.anonymous_id
        WHERE t.app_id = :app AND t.at >= :since GROUP BY t.item
    ), wanted AS (
        SELECT known.id, coalesce(counted.people, 0) AS people
        FROM items known LEFT JOIN counted ON counted.item = known.id
        WHERE known.app_id = :app AND known.people <> coalesce(counted.people, 0)
        ORDER BY known.id FOR NO KEY UPDATE OF known
    )
    UPDATE items SET people = wanted.people FROM wanted WHERE items.app_id = :app AND items.id = wanted.id
""")


class RecommendationChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def pair(self, kind: str, *, since: datetime) -> int:
        """Find out anew what goes together; readers see the old pairs until this is committed.

        Args:
            kind: `viewed` or `bought`.
            since: What happened before does not count.

        Returns:
            How many pairs there are now.
        """
        self._connection.execute(_LONGER)
        # One at a time: two would both write all pairs.
        self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"pair:{self._app}:{kind}", 0)))
        )
        self._connection.execute(_FORGET, {"app": self._app, "kind": kind})
        parameters = {
            "app": self._app,
            "kind": kind,
            "since": since,
            "most_of_a_person": MOST_OF_A_PERSON,
            "fewest_people": FEWEST_PEOPLE,
            "most_of_an_item": MOST_OF_AN_ITEM,
        }
        return self._connection.execute(_PAIR, parameters).rowcount

    def count_people(self, *, since: datetime) -> None:
        """Count for every item how many people had to do with it."""
        self._connection.execute(_LONGER)
        self._connection.execute(_COUNT_PEOPLE, {"app": self._app, "since": since})

    def show(self, user: str, items: Collection[str], *, on: date) -> None:
        """Remember what a digest has shown."""
        rows = [{"app_id": self._app, "user_id": user, "item": item, "shown_on": on} for item in sorted(items)]
        command = insert(shown_items)
        command = command.on_conflict_do_update(
            index_elements=[shown_items.c.app_id, shown_items.c.user_id, shown_items.c.item],
            set_={"shown_on": func.greatest(shown_items.c.shown_on, command.excluded.shown_on)},
        )
        if rows:
            self._connection.execute(command, rows)
