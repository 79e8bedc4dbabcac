"""Changes to records: many at once, and each message's only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, BOOLEAN, TEXT

from backroom.domain.record import Kept, Outcome, Place, Write
from backroom.store.tables import record_operations, records

_TEXTS = ARRAY(TEXT)

# Batches of one application go one after the other even where the queue could not keep them apart (a worker that
# was taken for dead and is not); each sees what the one before it left.
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('records ' || :app, 0))")

# A value is read only where somebody may have to be told it.
_KEPT = text("""
    SELECT r.collection, r.owner, r.key, r.version, r.deleted_at IS NOT NULL AS deleted,
           CASE WHEN wanted.value THEN r.value END AS value
    FROM unnest(:collections, :owners, :keys, :values) AS wanted (collection, owner, key, value)
    JOIN records r ON (r.app_id, r.collection, r.owner, r.key)
                    = (CAST(:app AS uuid), wanted.collection, wanted.owner, wanted.key)
""").bindparams(
    bindparam("collections", type_=_TEXTS),
    bindparam("owners", type_=_TEXTS),
    bindparam("keys", type_=_TEXTS),
    bindparam("values", type_=ARRAY(BOOLEAN)),
)

_KEEP = text("""
    INSERT INTO records AS old (app_id, collection, owner, key, value, version, created_at, updated_at, deleted_at)
    SELECT CAST(:app AS uuid), collection, owner, key, CAST(value AS jsonb), CAST(version AS bigint),
           CASE WHEN born THEN CAST(:at AS timestamptz) ELSE '-infinity' END, :at,
           CASE WHEN value IS NULL THEN CAST(:at AS timestamptz) END
    FROM unnest(:collections, :owners, :keys, :values, :versions, :born)
         AS new (collection, owner, key, value, version, born)
    ON CONFLICT (app_id, collection, owner, key) DO UPDATE SET
        value = excluded.value, version = excluded.version, updated_at = excluded.updated_at,
        deleted_at = excluded.deleted_at, created_at = greatest(old.created_at, excluded.created_at)
""").bindparams(
    bindparam("collections", type_=_TEXTS),
    bindparam("owners", type_=_TEXTS),
    bindparam("keys", type_=_TEXTS),
    bindparam("values", type_=_TEXTS),
    bindparam("versions", type_=_TEXTS),
    bindparam("born", type_=ARRAY(BOOLEAN)),
)


class RecordChanges:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def take_turn(self) -> None:
        """Wait until no other transaction writes records of this application, and keep others out until the end."""
        self._connection.execute(_TURN, {"app": self._app})

    def done(self, operations: Sequence[str]) -> dict[str, Outcome]:
        """The outcomes of those of these operations that were done before, by id."""
        query = select(record_operations.c.id, record_operations.c.status, record_operations.c.version).where(
            record_operations.c.app_id == self._app, record_operations.c.id.in_(operations)
        )
        return {row.id: Outcome(status=row.status, version=row.version) for row in self._connection.execute(query)}

    def kept(self, places: Mapping[Place, bool]) -> dict[Place, Kept]:
        """What is kept at these places. Only after `take_turn` it stays so.

        Args:
            places: For each, whether its value is wanted; where it is not, an empty one stands for it.
        """
        rows = self._connection.execute(_KEPT, {"app": self._app, **_columns(places), "values": list(places.values())})
        return {
            Place(collection=row.collection, owner=row.owner, key=row.key): Kept(
                version=row.version, value=None if row.deleted else row.value or {}
            )
            for row in rows
        }

    def keep(self, changed: Mapping[Place, Kept], *, at: datetime) -> None:
        """Keep these from now on; a deleted one's version is kept without its value.

        Raises:
            Invalid: PostgreSQL refuses a value, which the front door should have refused.
        """
        if not changed:
            return
        kept = changed.values()
        columns = {
            "app": self._app,
            "at": at,
            **_columns(changed),
            "values": [None if one.value is None else msgspec.json.encode(one.value).decode() for one in kept],
            "versions": [str(one.version) for one in kept],
            "born": [one.born for one in kept],
        }
        self._connection.execute(_KEEP, columns)

    def remember(self, outcomes: Iterable[tuple[Write, Outcome]], *, at: datetime) -> None:
        """Remember what became of these writes, so that they are not done again."""
        rows = [
            {
                "id": write.id,
                "app_id": self._app,
                "owner": write.place.owner,
                "status": outcome.status,
                "version": outcome.version,
                "done_at": at,
            }
            for write, outcome in outcomes
        ]
        if rows:
            self._connection.execute(insert(record_operations), rows)

    def forget_outcomes(self, *, before: datetime, limit: int) -> int:
        """Forget what became of old writes; how many there were."""
        old = (
            select(record_operations.c.id)
            .where(record_operations.c.app_id == self._app, record_operations.c.done_at < before)
            .order_by(record_operations.c.done_at)
            .limit(limit)
        )
        command = delete(record_operations).where(record_operations.c.id.in_(old.scalar_subquery()))
        return self._connection.execute(command).rowcount

    def forget_deleted(self, *, before: datetime, limit: int) -> int:
        """Forget the versions of records that were deleted long ago; how many there were."""
        old = (
            select(records.c.collection, records.c.owner, records.c.key)
            .where(records.c.app_id == self._app, records.c.deleted_at < before)
            .order_by(records.c.deleted_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("old")
        )
        command = delete(records).where(
            records.c.app_id == self._app,
            records.c.collection == old.c.collection,
            records.c.owner == old.c.owner,
            records.c.key == old.c.key,
        )
        return self._connection.execute(command).rowcount


def _columns(places: Iterable[Place]) -> dict[str, list[str]]:
    listed = list(places)
    return {
        "collections": [place.collection for place in listed],
        "owners": [place.owner for place in listed],
        "keys": [place.key for place in listed],
    }
