"""Bring a database to this version's tables, roles and policies."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from backroom.store.engine import driver_url

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(database_url: str) -> None:
    """Apply every migration that is missing. Safe to call at each start, and from two processes at once.

    Args:
        database_url: A role that owns the database, or may create tables and roles in it.
    """
    command.upgrade(_config(database_url), "head")


def pending(database_url: str) -> list[str]:
    """The migrations that have not been applied, oldest first."""
    script = ScriptDirectory.from_config(_config(database_url))
    engine = create_engine(driver_url(database_url))
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return [revision.revision for revision in script.iterate_revisions("head", current)][::-1]


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url)
    return config
