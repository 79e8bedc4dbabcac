"""Questions about a user's inbox."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from backroom.store.rows import InboxItem
from backroom.store.tables import inbox_items

_ITEM = [inbox_items.c[name] for name in InboxItem.__dataclass_fields__]


class InboxQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def page(self, user: str, *, before: str | None, limit: int) -> list[InboxItem]:
        """A user's items, newest first, from just below an id."""
        query = select(*_ITEM).where(inbox_items.c.app_id == self._app, inbox_items.c.user_id == user)
        if before is not None:
            query = query.where(inbox_items.c.id < before)
        query = query.order_by(inbox_items.c.id.desc()).limit(limit)
        return [InboxItem(**row) for row in self._connection.execute(query).mappings()]

    def exists(self, user: str, item: str) -> bool:
        """Whether a user has this item."""
        query = select(inbox_items.c.id).where(
            inbox_items.c.app_id == self._app, inbox_items.c.user_id == user, inbox_items.c.id == item
        )
        return self._connection.scalar(query) is not None

    def unread(self, user: str) -> int:
        """How many items a user has not read."""
        query = select(func.count()).where(
            inbox_items.c.app_id == self._app, inbox_items.c.user_id == user, inbox_items.c.read_at.is_(None)
        )
        return self._connection.scalar(query) or 0
