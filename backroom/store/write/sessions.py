"""Changes to sessions: the newest save counts, and nothing comes after the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from backroom.domain.session import Save
from backroom.store.tables import sessions


class SessionChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def save(self, saves: Sequence[Save]) -> int:
        """Remember sessions, each only if it is newer than what is remembered, and never after its end.

        The end of a session leaves a row without its state: whatever comes later finds it, and changes nothing.

        Args:
            saves: One for each session at the most, in the order of their hashes, so that two batches that share
                sessions wait for each other rather than block each other.

        Returns:
            How many sessions changed.
        """
        if not saves:
            return 0
        command = insert(sessions).values([self._row(save) for save in saves])
        new = command.excluded
        command = command.on_conflict_do_update(
            index_elements=[sessions.c.app_id, sessions.c.token_hash],
            set_={
                name: new[name]
                for name in (
                    "user_id",
                    "state",
                    "version",
                    "revision",
                    "idle_seconds",
                    "seen_at",
                    "expires_at",
                    "lapses_at",
                    "ended_at",
                )
            },
            where=sessions.c.ended_at.is_(None) & or_(sessions.c.revision < new.revision, new.ended_at.is_not(None)),
        )
        return len(self._connection.execute(command.returning(sessions.c.token_hash)).all())

    def end_lapsed(self, *, before: datetime, at: datetime, limit: int) -> int:
        """End sessions that were over by then; how many there were."""
        over = (
            select(sessions.c.token_hash)
            .where(sessions.c.app_id == self._app, sessions.c.ended_at.is_(None), sessions.c.lapses_at < before)
            .order_by(sessions.c.lapses_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        command = (
            update(sessions)
            .where(sessions.c.app_id == self._app, sessions.c.token_hash.in_(over.scalar_subquery()))
            .values(ended_at=at, state=text("'{}'::jsonb"))
        )
        return self._connection.execute(command).rowcount

    def forget_ended(self, *, before: datetime, limit: int) -> int:
        """Forget sessions that ended before then; how many there were."""
        old = (
            select(sessions.c.token_hash)
            .where(sessions.c.app_id == self._app, sessions.c.ended_at < before)
            .order_by(sessions.c.ended_at)
            .limit(limit)
        )
        command = delete(sessions).where(
            sessions.c.app_id == self._app, sessions.c.token_hash.in_(old.scalar_subquery())
        )
        return self._connection.execute(command).rowcount

    def _row(self, save: Save) -> dict[str, object]:
        session = save.session
        return {
            "app_id": self._app,
            "token_hash": save.token_hash,
            "user_id": session.user,
            "state": {} if save.ended else session.state,
            "version": session.version,
            "revision": save.revision,
            "idle_seconds": session.idle_seconds,
            "created_at": session.created_at,
            "seen_at": session.seen_at,
            "expires_at": session.expires_at,
            "lapses_at": session.lapses_at,
            "ended_at": save.at if save.ended else None,
        }
