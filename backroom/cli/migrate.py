"""Bring the database to this version, before its processes start."""

from __future__ import annotations

import typer


def commands(app: typer.Typer) -> None:
    """Add `backroom migrate`."""
    app.command(name="migrate")(migrate)


def migrate() -> None:
    """Apply the migrations that are missing. Safe at every deployment, and from two machines at once.

    Example: DATABASE_URL=postgresql://owner@db/backroom backroom migrate
    """
    from backroom.cli._settings import house_settings, need_postgres  # noqa: PLC0415 - `--help` must be quick
    from backroom.store.migrate import pending, upgrade  # noqa: PLC0415

    url = need_postgres(house_settings()).database_url
    missing = pending(url)
    upgrade(url)
    typer.echo(f"applied {', '.join(missing)}" if missing else "nothing was missing")
