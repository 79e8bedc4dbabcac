"""Changes to a user's inbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update
from sqlalchemy.dialects.postgresql import insert

from backroom.store.tables import inbox_items


class InboxChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def add(self, item: Mapping[str, Any]) -> None:
        """Write an item, once however often it is asked: its id is the delivery's."""
        row = {"app_id": self._app, **item}
        self._connection.execute(insert(inbox_items).values(row).on_conflict_do_nothing())

    def mark_read(self, user: str, item: str, *, at: datetime) -> None:
        """Mark one of a user's items as read; the first reading counts."""
        command = (
            update(inbox_items)
            .where(
                inbox_items.c.app_id == self._app,
                inbox_items.c.user_id == user,
                inbox_items.c.id == item,
                inbox_items.c.read_at.is_(None),
            )
            .values(read_at=at)
        )
        self._connection.execute(command)
