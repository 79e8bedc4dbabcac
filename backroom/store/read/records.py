"""Questions about records."""

from __future__ import annotations

from sqlalchemy import Connection, select

from backroom.domain.record import Outcome
from backroom.store.rows_records import Record
from backroom.store.tables import record_operations, records

_RECORD = [records.c[name] for name in Record.__dataclass_fields__]


class RecordQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def one(self, collection: str, key: str, *, owner: str) -> Record | None:
        """A record of an owner by key."""
        query = select(*_RECORD).where(
            records.c.app_id == self._app,
            records.c.collection == collection,
            records.c.owner == owner,
            records.c.key == key,
            records.c.deleted_at.is_(None),
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return Record(**row) if row else None

    def page(self, collection: str, *, owner: str, after: str | None, limit: int) -> list[Record]:
        """An owner's records in the order of their keys, from just behind a key."""
        query = select(*_RECORD).where(
            records.c.app_id == self._app,
            records.c.collection == collection,
            records.c.owner == owner,
            records.c.deleted_at.is_(None),
        )
        if after is not None:
            query = query.where(records.c.key > after)
        query = query.order_by(records.c.key).limit(limit)
        return [Record(**row) for row in self._connection.execute(query).mappings()]

    def outcome(self, operation: str) -> Outcome | None:
        """What became of a write, or None where it is not done, or forgotten, or the reader may not know."""
        query = select(record_operations.c.status, record_operations.c.version).where(
            record_operations.c.app_id == self._app, record_operations.c.id == operation
        )
        row = self._connection.execute(query).one_or_none()
        return Outcome(status=row.status, version=row.version) if row else None
