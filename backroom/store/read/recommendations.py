"""Questions that a recommendation is made from."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, union

from backroom.domain.recommendation import Done, Facts, Offer, Pair
from backroom.store.rows_insights import Described
from backroom.store.tables import events, identities, item_events, item_pairs, items, shown_items, users

# Bounds of what is looked at for one person.
LATELY = timedelta(days=90)
MOST_DONE = 100
MOST_BOUGHT = 2_000
MOST_SEARCHES = 20
MOST_POPULAR = 60


class RecommendationQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def facts(self, user: str, *, now: datetime, without: Collection[str] = ()) -> Facts:
        """What is known about a user and about the shop."""
        done = self._done(user, since=now - LATELY)
        pairs = self._pairs({one.item for one in done})
        return Facts(
            done=done,
            pairs=pairs,
            offers=self._offers({pair.other for pair in pairs}),
            searched=self._searches(user, since=now - LATELY),
            without=self._bought(user) | set(without),
        )

    def described(self, ids: Collection[str]) -> dict[str, Described]:
        """What is known about items, by id."""
        query = select(items.c.id, items.c.name, items.c.price, items.c.currency, items.c.url).where(
            items.c.app_id == self._app, items.c.id.in_(ids)
        )
        return {
            row.id: Described(
                name=row.name,
                price=None if row.price is None else float(row.price),
                currency=row.currency,
                url=row.url,
            )
            for row in self._connection.execute(query)
        }

    def readers(self, *, since: datetime, after: str, limit: int) -> list[str]:
        """Users with an email address who viewed or bought something lately, in the order of their ids."""
        theirs = item_events.c
        lately = (theirs.app_id == self._app, theirs.at >= since)
        linked = and_(identities.c.app_id == theirs.app_id, identities.c.anonymous_id == theirs.anonymous_id)
        # Two plain questions: over one with a coalesce() the planner, which sees policies and no statistics, takes a
        # nested loop that a year of orders does not end.
        active = union(
            select(theirs.user_id).where(*lately, theirs.user_id != ""),
            select(identities.c.user_id)
            .select_from(item_events.join(identities, linked))
            .where(*lately, theirs.user_id == ""),
        )
        query = (
            select(users.c.id)
            .where(
                users.c.app_id == self._app,
                users.c.contacts.has_key("email"),
                users.c.id > after,
                users.c.id.in_(active),
            )
            .order_by(users.c.id)
            .limit(limit)
        )
        return list(self._connection.scalars(query))

    def shown(self, user: str, *, since: date, before: date) -> set[str]:
        """What digests have shown a user who did not look at it then."""
        theirs = item_events.c
        looked_at = (
            select(theirs.item)
            .where(
                theirs.app_id == self._app,
                self._by(user),
                theirs.item == shown_items.c.item,
                theirs.at >= shown_items.c.shown_on,
            )
            .exists()
        )
        query = select(shown_items.c.item).where(
            shown_items.c.app_id == self._app,
            shown_items.c.user_id == user,
            shown_items.c.shown_on >= since,
            shown_items.c.shown_on < before,
            ~looked_at,
        )
        return set(self._connection.scalars(query))

    def _by(self, user: str) -> ColumnElement[bool]:
        """Done by a user, also before signing in."""
        before = select(identities.c.anonymous_id).where(identities.c.app_id == self._app, identities.c.user_id == user)
        theirs = item_events.c
        return or_(theirs.user_id == user, and_(theirs.user_id == "", theirs.anonymous_id.in_(before)))

    def _done(self, user: str, *, since: datetime) -> list[Done]:
        theirs = item_events.c
        query = (
            select(theirs.kind, theirs.item, theirs.at)
            .where(theirs.app_id == self._app, self._by(user), theirs.at >= since)
            .order_by(theirs.at.desc(), theirs.message_id, theirs.item)
            .limit(MOST_DONE)
        )
        return [Done(kind=row.kind, item=row.item, at=row.at) for row in self._connection.execute(query)]

    def _bought(self, user: str) -> set[str]:
        theirs = item_events.c
        query = (
            select(theirs.item)
            .where(theirs.app_id == self._app, self._by(user), theirs.kind == "bought")
            .distinct()
            .limit(MOST_BOUGHT)
        )
        return set(self._connection.scalars(query))

    def _searches(self, user: str, *, since: datetime) -> list[str]:
        query = (
            select(func.left(events.c.properties["query"].astext, 200))
            .where(
                events.c.app_id == self._app,
                events.c.user_id == user,
                events.c.at >= since,
                func.lower(events.c.name) == "products searched",
                events.c.properties["query"].astext.is_not(None),
            )
            .order_by(events.c.at.desc())
            .limit(MOST_SEARCHES)
        )
        return list(self._connection.scalars(query))

    def _pairs(self, ids: Collection[str]) -> list[Pair]:
        query = select(item_pairs.c.kind, item_pairs.c.item, item_pairs.c.other, item_pairs.c.score).where(
            item_pairs.c.app_id == self._app, item_pairs.c.item.in_(ids)
        )
        return [
            Pair(kind=row.kind, item=row.item, other=row.other, score=row.score)
            for row in self._connection.execute(query)
        ]

    def _offers(self, ids: Collection[str]) -> dict[str, Offer]:
        popular = (
            select(items.c.id)
            .where(items.c.app_id == self._app, items.c.people > 0)
            .order_by(items.c.people.desc(), items.c.id)
            .limit(MOST_POPULAR)
        )
        query = select(items.c.id, items.c.name, items.c.category, items.c.people).where(
            items.c.app_id == self._app, or_(items.c.id.in_(ids), items.c.id.in_(popular))
        )
        return {
            row.id: Offer(item=row.id, name=row.name, category=row.category, people=row.people)
            for row in self._connection.execute(query)
        }
