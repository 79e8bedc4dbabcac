"""Questions about tries to sign in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from backroom.domain.event import LOGIN_SUCCEEDED, SIGN_INS
from backroom.domain.rule import Login
from backroom.store.tables import events

# Longer than any address or account name; an attacker chooses both.
LONGEST = 100


class LoginQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def between(self, since: datetime, until: datetime, *, limit: int) -> list[Login]:
        """The newest of the tries in a span of time, oldest first.

        The account is the one in the event's properties, or else the user the event is about.
        """
        source = func.coalesce(events.c.properties["source"].astext, "")
        account = func.coalesce(events.c.properties["account"].astext, events.c.user_id)
        query = (
            select(
                events.c.at,
                events.c.name,
                func.left(source, LONGEST).label("source"),
                func.left(account, LONGEST).label("account"),
            )
            .where(
                events.c.app_id == self._app,
                events.c.name.in_(SIGN_INS),
                events.c.at > since,
                events.c.at <= until,
            )
            .order_by(events.c.at.desc(), events.c.message_id)
            .limit(limit)
        )
        tries = [
            Login(
                at=row.at,
                source=_printable(row.source),
                account=_printable(row.account),
                succeeded=row.name == LOGIN_SUCCEEDED,
            )
            for row in self._connection.execute(query)
        ]
        return tries[::-1]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
