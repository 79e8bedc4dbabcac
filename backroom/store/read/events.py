"""Questions about what happened, and who did it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from sqlalchemy import Connection, Date, cast, func, select, tuple_

from backroom.store.tables import events, identities


class EventQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def days_of(self, visitors: Collection[str]) -> set[date]:
        """The days on which these visitors did anything."""
        if not visitors:
            return set()
        day = cast(func.timezone("UTC", events.c.at), Date)
        query = (
            select(day)
            .where(events.c.app_id == self._app, events.c.anonymous_id.in_(visitors), events.c.anonymous_id != "")
            .distinct()
        )
        return set(self._connection.scalars(query))

    def count_linked(self, wanted: Mapping[str, str], *, besides: Collection[str]) -> int:
        """How many of these visitors are these users already, not counting some."""
        query = select(func.count()).where(
            identities.c.app_id == self._app,
            tuple_(identities.c.anonymous_id, identities.c.user_id).in_(list(wanted.items())),
            identities.c.anonymous_id.not_in(besides),
        )
        return self._connection.scalar(query) or 0
