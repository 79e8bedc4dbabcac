"""Questions about the application itself."""

from __future__ import annotations

from sqlalchemy import Connection, select

from backroom.store.tables import apps


class ApplicationQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def name(self) -> str:
        """What it is called."""
        return self._connection.scalar(select(apps.c.name).where(apps.c.id == self._app)) or ""
