"""Questions about users."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from backroom.store.rows import User
from backroom.store.tables import users

_USER = [users.c[name] for name in User.__dataclass_fields__]


class UserQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def one(self, user: str) -> User | None:
        """A user by id."""
        found = self.many([user])
        return found[0] if found else None

    def many(self, ids: Sequence[str]) -> list[User]:
        """Those of these users that exist, in no order."""
        query = select(*_USER).where(users.c.app_id == self._app, users.c.id.in_(ids))
        return [User(**row) for row in self._connection.execute(query).mappings()]

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that are users."""
        query = select(users.c.id).where(users.c.app_id == self._app, users.c.id.in_(ids))
        return set(self._connection.scalars(query))

    def ids_like(self, user: str, *, limit: int = 1_000) -> list[str]:
        """Ids that begin like this one, for somebody who mistyped it."""
        start = users.c.id.startswith(user[:2], autoescape=True)
        query = select(users.c.id).where(users.c.app_id == self._app, start).order_by(users.c.id).limit(limit)
        return list(self._connection.scalars(query))

    def administrators(self) -> list[str]:
        """The ids of the users who hear about alerts."""
        query = select(users.c.id).where(users.c.app_id == self._app, users.c.administrator).order_by(users.c.id)
        return list(self._connection.scalars(query))
