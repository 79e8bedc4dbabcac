"""The front door's way to the memory: read-only, for one caller, in one short transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from backroom.store.engine import told_when_away
from backroom.store.read import Reader

_SCOPE = text("SELECT set_config('backroom.app', :app, true), set_config('backroom.user', :user, true)")
_KEY = text("SELECT app_id, kind, hash, revoked_at IS NOT NULL AS revoked FROM find_key(:id)")


class View:
    """Opens readers for callers.

    Args:
        engine: A pool in the front door's role.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def open(self, *, app: str, user: str = "") -> Iterator[Reader]:
        """A reader that sees one application's rows, or only one user's of them.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        with told_when_away(), self._engine.connect() as connection:
            connection.execute(_SCOPE, {"app": app, "user": user})
            yield Reader(connection, app=app)

    def key(self, key_id: str) -> tuple[str, str, bytes] | None:
        """The application, kind and hash of a key that is in force, by the part of it that may be shown.

        Raises:
            StoreAway: PostgreSQL does not answer.
        """
        with told_when_away(), self._engine.connect() as connection:
            row = connection.execute(_KEY, {"id": key_id}).one_or_none()
        return None if row is None or row.revoked else (str(row.app_id), row.kind, bytes(row.hash))

    def ready(self) -> None:
        """Return if PostgreSQL answers.

        Raises:
            StoreAway: It does not.
        """
        with told_when_away(), self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))
