"""What PostgreSQL says when it is in trouble: again later, or never."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.errors import QueryCanceled
from sqlalchemy import Engine, text

from backroom.domain.errors import StoreAway
from backroom.domain.event import Event
from backroom.store.engine import open_engine
from backroom.store.write.events import EventChanges
from tests.house import TestHouse

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# Disk full, out of memory, too many connections, a primary that became a replica, shutting down.
AWAY = ["53100", "53200", "53300", "25006", "57P01"]


@pytest.fixture
def engine(house: TestHouse) -> Iterator[Engine]:
    engine = open_engine(
        house.database_url, door="backroom_worker", connect_timeout=timedelta(seconds=5), connections=1
    )
    yield engine
    engine.dispose()


@pytest.mark.parametrize("state", AWAY)
def test_trouble_that_passes_is_tried_again(engine: Engine, state: str) -> None:
    with engine.connect() as connection, pytest.raises(StoreAway):
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"))


@pytest.mark.parametrize(("state", "error"), [*((state, StoreAway) for state in AWAY), ("57014", QueryCanceled)])
def test_events_in_bulk_make_the_same_difference(house: TestHouse, engine: Engine, state: str, error: type) -> None:
    event = Event(id="one", kind="track", name="Seen", anonymous="a", at=NOW, received_at=NOW)
    with engine.connect() as connection:
        connection.execute(text("SELECT set_config('backroom.app', :app, true)"), {"app": house.app.id})
        changes = EventChanges(connection, house.app.id)
        assert changes.add([event]) == ["one"]
        connection.execute(
            text(
                "CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER fail BEFORE INSERT ON arriving_events FOR EACH ROW EXECUTE FUNCTION pg_temp.fail()")
        )
        with pytest.raises(error):
            changes.add([event])
