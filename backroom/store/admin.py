"""What the owner of the database does from a terminal: applications and their keys."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text, update

from backroom.domain.keys import Key, Kind, keyed_hash, mint
from backroom.store.engine import owner_engine
from backroom.store.tables import apps, keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """An application and the keys made with it. The keys cannot be read again later.

    Attributes:
        id: UUID as text.
        name: As given.
        secret_key: Acts for the application.
        write_key: May only hand in events; may sit in a browser.
    """

    id: str
    name: str
    secret_key: Key
    write_key: Key


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyKept:
    """What is known of a key.

    Attributes:
        id: The part of it that may be shown.
        application: Whose it is, by name.
        kind: What it may do.
        created_at: When it was made.
        revoked_at: When it was taken out of force, if it was.
    """

    id: str
    application: str
    kind: Kind
    created_at: datetime
    revoked_at: datetime | None


def create_application(database_url: str, *, name: str, secret: bytes) -> Application:
    """Add an application with a secret key and a write key. The first one is the house application.

    Args:
        database_url: The owner's address.
        name: Unique.
        secret: The house's own secret, which keys the stored hashes.

    Raises:
        StoreAway: PostgreSQL does not answer.
        ValueError: The name is taken.
    """
    with owner_engine(database_url) as engine, engine.begin() as connection:
        connection.execute(text("LOCK TABLE apps IN SHARE ROW EXCLUSIVE MODE"))
        if connection.scalar(select(apps.c.id).where(apps.c.name == name)) is not None:
            raise ValueError(f"there is an application named {name!r} already")
        app: str = connection.scalar(text("SELECT gen_random_uuid()::text")) or ""
        house = connection.scalar(select(apps.c.id).where(apps.c.is_house)) is None
        connection.execute(insert(apps).values(id=app, name=name, is_house=house))
        return Application(
            id=app,
            name=name,
            secret_key=_add_key(connection, app, "secret", secret),
            write_key=_add_key(connection, app, "write", secret),
        )


def create_key(database_url: str, *, app: str, kind: Kind, secret: bytes) -> Key:
    """Add a key to an application.

    Raises:
        StoreAway: PostgreSQL does not answer.
    """
    with owner_engine(database_url) as engine, engine.begin() as connection:
        return _add_key(connection, app, kind, secret)


def list_keys(database_url: str) -> list[KeyKept]:
    """Every application's keys, oldest first, the revoked ones too.

    Raises:
        StoreAway: PostgreSQL does not answer.
    """
    asked = select(keys.c.id, apps.c.name.label("application"), keys.c.kind, keys.c.created_at, keys.c.revoked_at)
    with owner_engine(database_url) as engine, engine.connect() as connection:
        rows = connection.execute(asked.join(apps).order_by(keys.c.created_at, keys.c.id))
        return [KeyKept(**row) for row in rows.mappings()]


def revoke_key(database_url: str, *, id: str) -> bool:
    """Take a key out of force; say whether there is such a key. The first time counts.

    Raises:
        StoreAway: PostgreSQL does not answer.
    """
    revoked = update(keys).where(keys.c.id == id).values(revoked_at=func.coalesce(keys.c.revoked_at, func.now()))
    with owner_engine(database_url) as engine, engine.begin() as connection:
        return connection.execute(revoked).rowcount == 1


def list_applications(database_url: str) -> list[tuple[str, str]]:
    """Id and name of every application, oldest first.

    Raises:
        StoreAway: PostgreSQL does not answer.
    """
    with owner_engine(database_url) as engine, engine.connect() as connection:
        rows = connection.execute(select(apps.c.id, apps.c.name).order_by(apps.c.created_at))
        return [(row.id, row.name) for row in rows]


def _add_key(connection: Connection, app: str, kind: Kind, secret: bytes) -> Key:
    key = mint(kind, secrets.token_bytes)
    connection.execute(insert(keys).values(id=key.id, app_id=app, kind=kind, hash=keyed_hash(key, secret)))
    return key
