"""Questions about sessions."""

from __future__ import annotations

from sqlalchemy import Connection, select

from backroom.domain.session import Session
from backroom.store.rows_sessions import KeptSession
from backroom.store.tables import sessions


class SessionQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def open(self, token_hash: str) -> KeptSession | None:
        """A session that has not been ended, by the hash of its token; it may be over all the same."""
        query = select(sessions).where(
            sessions.c.app_id == self._app, sessions.c.token_hash == token_hash, sessions.c.ended_at.is_(None)
        )
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        session = Session(
            user=row.user_id,
            state=row.state,
            version=row.version,
            idle_seconds=row.idle_seconds,
            created_at=row.created_at,
            seen_at=row.seen_at,
            expires_at=row.expires_at,
        )
        return KeptSession(session=session, revision=row.revision)
