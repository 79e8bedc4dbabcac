"""Changes to users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func
from sqlalchemy.dialects.postgresql import insert

from backroom.store.tables import suppressions, users


class UserChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def put(self, user: str, *, profile: Mapping[str, Any], written_by: str) -> bool:
        """Create a user or replace the profile, unless a newer message already has.

        Args:
            user: The user's id in the application.
            profile: Columns of the table: `name`, `locale`, `time_zone`, `contacts`, `attributes`, `administrator`.
            written_by: The message's id, which is ordered by time.

        Returns:
            Whether this message was the newest.
        """
        row = {"app_id": self._app, "id": user, "written_by": written_by, **profile}
        command = insert(users).values(row)
        command = command.on_conflict_do_update(
            index_elements=[users.c.app_id, users.c.id],
            set_={
                **{name: command.excluded[name] for name in row if name not in {"app_id", "id"}},
                "updated_at": func.now(),
            },
            where=users.c.written_by < command.excluded.written_by,
        )
        return self._connection.execute(command).rowcount == 1

    def suppress(self, *, medium: str, address: str, reason: str) -> None:
        """Never write to this address again over this medium."""
        row = {"app_id": self._app, "medium": medium, "address": address, "reason": reason}
        self._connection.execute(insert(suppressions).values(row).on_conflict_do_nothing())
