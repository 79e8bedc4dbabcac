"""Row-level security stands on every table of an application: a query that forgot to ask for whom sees nothing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Column, Connection, Engine, Table, create_engine, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.types import Boolean, Date, DateTime, Double, Integer, LargeBinary, Numeric, Uuid

from backroom.domain.errors import StoreAway
from backroom.domain.keys import parse
from backroom.store.engine import Door, driver_url, open_engine
from backroom.store.tables import metadata
from backroom.store.view import View
from tests.conftest import TEMPLATE
from tests.house import cloned_database

DOORS = get_args(Door)
OF_APPS = [table for table in metadata.sorted_tables if "app_id" in table.c]
OF_USERS = [table for table in OF_APPS if {"user_id", "owner"} & set(table.c.keys()) or table.name == "users"]
# Hashes of keys: no door reads the table at all.
HIDDEN = {"keys"}

# Where a constraint wants more than its type says.
SPECIAL: dict[tuple[str, str], Any] = {("records", "value"): {}}

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def url(template: str) -> Iterator[str]:
    with cloned_database(template, TEMPLATE) as url:
        yield url


@pytest.fixture(scope="module")
def owner(url: str) -> Iterator[Engine]:
    engine = create_engine(driver_url(url))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def rows(owner: Engine) -> tuple[Rows, Rows]:
    """One row of two applications in every table."""
    with owner.begin() as connection:
        return _one_of_each(connection), _one_of_each(connection)


@pytest.fixture(scope="module", params=DOORS)
def engine(url: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine(url, door=request.param, connect_timeout=timedelta(seconds=5), connections=2)
    yield engine
    engine.dispose()


@pytest.fixture
def door(url: str) -> Iterator[Engine]:
    engine = open_engine(url, door="backroom_door", connect_timeout=timedelta(seconds=5), connections=2)
    yield engine
    engine.dispose()


@pytest.fixture
def worker(url: str) -> Iterator[Engine]:
    engine = open_engine(url, door="backroom_worker", connect_timeout=timedelta(seconds=5), connections=2)
    yield engine
    engine.dispose()


def _one_of_each(connection: Connection) -> Rows:
    made: Rows = {}
    for table in metadata.sorted_tables:
        made[table.name] = {
            column.name: _value(column, made)
            for column in table.c
            if column.foreign_keys
            or (table.name, column.name) in SPECIAL
            or not (column.nullable or column.server_default is not None)
        }
        connection.execute(insert(table).values(made[table.name]))
    return made


def _value(column: Column[Any], made: Rows) -> Any:
    special = SPECIAL.get((column.table.name, column.name))
    if special is not None:
        return special
    for key in column.foreign_keys:
        return made[key.column.table.name][key.column.name]
    for constraint in column.table.constraints:
        if isinstance(constraint, CheckConstraint) and (
            found := re.search(rf"\b{column.name} IN \('(\w+)'", str(constraint.sqltext))
        ):
            return found[1]
    kinds: list[tuple[type[Any], Any]] = [
        (Uuid, str(uuid.uuid4())),
        (JSONB, {}),
        (Boolean, False),
        (Integer, 1),
        (Double, 1.0),
        (Numeric, Decimal(1)),
        (DateTime, datetime.now(UTC)),
        (Date, date(2026, 1, 1)),
        (LargeBinary, uuid.uuid4().bytes),
    ]
    return next((value for kind, value in kinds if isinstance(column.type, kind)), uuid.uuid4().hex)


def _seen(engine: Engine, table: Table, *, app: str | None, user: str = "") -> list[str]:
    with engine.connect() as connection:
        if app is not None:
            connection.execute(
                text("SELECT set_config('backroom.app', :app, true), set_config('backroom.user', :user, true)"),
                {"app": app, "user": user},
            )
        return list(connection.scalars(select(table.c.app_id)))


def test_every_table_of_an_application_is_under_row_level_security(owner):
    with owner.connect() as connection:
        secured = set(
            connection.scalars(
                text("""
                    SELECT c.relname FROM pg_class c JOIN pg_policies p ON p.tablename = c.relname
                    WHERE c.relrowsecurity AND p.permissive = 'PERMISSIVE' AND p.cmd = 'ALL'
                """)
            )
        )
        there = set(
            connection.scalars(text("SELECT table_name FROM information_schema.columns WHERE column_name = 'app_id'"))
        )

    assert there == {table.name for table in OF_APPS}
    assert there - secured == set()


@pytest.mark.parametrize("table", [table for table in OF_APPS if table.name not in HIDDEN], ids=str)
def test_a_query_sees_the_rows_of_its_application_and_none_without_one(table, rows, engine):
    mine, _ = rows

    assert _seen(engine, table, app=None) == []
    assert _seen(engine, table, app="") == []
    assert _seen(engine, table, app=str(uuid.uuid4())) == []
    assert set(_seen(engine, table, app=mine["apps"]["id"])) == {mine["apps"]["id"]}


@pytest.mark.parametrize("table", OF_USERS, ids=str)
def test_a_query_for_one_user_sees_nothing_of_another(table, rows, door):
    mine, _ = rows

    assert _seen(door, table, app=mine["apps"]["id"], user="somebody else") == []


@pytest.mark.parametrize("table", [table for table in OF_APPS if table.name not in HIDDEN], ids=str)
def test_a_worker_cannot_write_a_row_of_another_application(table, rows, worker):
    mine, others = rows
    with worker.connect() as connection:
        connection.execute(text("SELECT set_config('backroom.app', :app, true)"), {"app": mine["apps"]["id"]})
        # A key of its own, so that nothing but the policy can refuse the row.
        row = others[table.name] | {name: str(uuid.uuid4()) for name in ("id",) if name in table.c}

        with pytest.raises(ProgrammingError, match="violates row-level security policy"):
            connection.execute(insert(table).values(row))


def test_nobody_reads_keys(rows, engine):
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(select(metadata.tables["keys"]))


def test_the_front_door_finds_a_key_by_its_name_only(house):
    engine = open_engine(house.database_url, door="backroom_door", connect_timeout=timedelta(seconds=5), connections=2)
    key = parse(house.app.secret_key.text)
    try:
        found = View(engine).key(key.id)
        assert found is not None
        assert found[:2] == (house.app.id, "secret")
        assert View(engine).key("%") is None
    finally:
        engine.dispose()


def test_a_worker_cannot_even_find_a_key(worker):
    with worker.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("SELECT * FROM find_key('x')"))


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_the_front_doors_role_may_change_nothing(table, owner):
    with owner.connect() as connection:
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
            may = connection.scalar(
                text("SELECT has_table_privilege('backroom_door', :table, :right)"),
                {"table": table.name, "right": right},
            )
            assert not may, right


def test_the_front_door_cannot_write_even_by_mistake(rows, door):
    mine, _ = rows
    with door.connect() as connection:
        connection.execute(text("SELECT set_config('backroom.app', :app, true)"), {"app": mine["apps"]["id"]})
        with pytest.raises(StoreAway) as refused:
            connection.execute(text("UPDATE users SET name = 'x'"))
        assert "read-only transaction" in str(refused.value.__cause__)

    with door.connect() as connection:
        # Read-only is a courtesy that a statement may undo; the role's rights are the wall.
        connection.execute(text("SET TRANSACTION READ WRITE"))
        with pytest.raises(ProgrammingError, match="permission denied for table users"):
            connection.execute(text("UPDATE users SET name = 'x'"))


def test_the_tables_in_the_code_are_those_that_the_migrations_make(owner):
    with owner.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, metadata) == []
