"""Changes to what goes together, to what is popular, and to what was shown to whom."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from backroom.store.engine import LONGER
from backroom.store.tables import shown_items

# Somebody who has looked at everything says nothing about what goes together, and costs the square of it.
MOST_OF_A_PERSON = 100
FEWEST_PEOPLE = 2
MOST_OF_AN_ITEM = 50

_FORGET = text("DELETE FROM item_pairs WHERE app_id = :app AND kind = :kind")
# Everybody's basket, small and with an index: what follows looks into it millions of times.
_BASKET = text("""
    CREATE TEMPORARY TABLE basket ON COMMIT DROP AS
    WITH touched AS (
        SELECT person_of(t.user_id, i.user_id, t.anonymous_id) AS person, t.item, max(t.at) AS at
        FROM item_events t LEFT JOIN identities i ON i.app_id = t.app_id AND i.anonymous_id = t.anonymous_id
        WHERE t.app_id = :app AND t.kind = :kind AND t.at >= :since
        GROUP BY 1, 2
    ), ranked AS (
        SELECT person, item, row_number() OVER (PARTITION BY person ORDER BY at DESC, item) AS nth FROM touched
    ), kept AS (
        SELECT person, item, count(*) OVER (PARTITION BY item) AS people FROM ranked WHERE nth <= :most_of_a_person
    )
    SELECT CAST(dense_rank() OVER (ORDER BY person) AS integer) AS person,
           CAST(dense_rank() OVER (ORDER BY item) AS integer) AS number, item, people
    FROM kept WHERE people >= :fewest_people
""")
_BASKET_INDEXES = (
    text("CREATE INDEX ON basket (number) INCLUDE (person)"),
    text("CREATE INDEX ON basket (person) INCLUDE (number, people)"),
    text("ANALYZE basket"),
)
# How far the same people had to do with both of two items, as a cosine: together / sqrt(people of one * of the other).
# Item by item, because all pairs at once would not fit into memory.
_PAIR = text("""
    INSERT INTO item_pairs (app_id, item, other, kind, together, score)
    SELECT :app, one.item, other.item, :kind, best.together, best.score
    FROM (SELECT DISTINCT number, item, people FROM basket) AS one
    CROSS JOIN LATERAL (
        SELECT theirs.number, count(*) AS together,
               count(*) / sqrt(CAST(one.people AS double precision) * theirs.people) AS score
        FROM basket mine JOIN basket theirs ON theirs.person = mine.person AND theirs.number <> mine.number
        WHERE mine.number = one.number
        GROUP BY theirs.number, theirs.people HAVING count(*) >= :fewest_people
        ORDER BY score DESC, together DESC, theirs.number LIMIT :most_of_an_item
    ) AS best
    JOIN (SELECT DISTINCT number, item FROM basket) AS other ON other.number = best.number
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
        self._connection.execute(LONGER)
        # One at a time: two would both write all pairs.
        self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"pair:{self._app}:{kind}", 0)))
        )
        scope = {"app": self._app, "kind": kind}
        self._connection.execute(
            _BASKET, {**scope, "since": since, "most_of_a_person": MOST_OF_A_PERSON, "fewest_people": FEWEST_PEOPLE}
        )
        for index in _BASKET_INDEXES:
            self._connection.execute(index)
        self._connection.execute(_FORGET, scope)
        limits = {"fewest_people": FEWEST_PEOPLE, "most_of_an_item": MOST_OF_AN_ITEM}
        return self._connection.execute(_PAIR, {**scope, **limits}).rowcount

    def count_people(self, *, since: datetime) -> None:
        """Count for every item how many people had to do with it."""
        self._connection.execute(LONGER)
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
