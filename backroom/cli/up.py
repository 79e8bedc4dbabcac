"""`backroom up`: from nothing to a running house in one terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def commands(app: typer.Typer) -> None:
    """Add `up`."""
    app.command()(up)


def up(
    *,
    procfile: Annotated[Path, typer.Option(help="Which processes to run.")] = Path("Procfile"),
    simulator: Annotated[
        bool,
        typer.Option(help="Stand in for carriers without keys; those that have some write to real people."),
    ] = True,
) -> None:
    """Start everything from nothing: engines, tables, a first key and the Procfile's processes.

    What is not given is started, and kept in `BACKROOM_HOME` (`.backroom`) for the next start: Valkey unless
    `REDIS_URL` is set, PostgreSQL unless `DATABASE_URL` is set, the carriers' simulator unless `SIMULATOR_URL` is set.

    A process that ends unasked is reported and started again; five times within a minute, and everything stops with
    exit code 1. Ctrl-C stops everything in order, a second Ctrl-C hurries.

    A second house beside this one: `BACKROOM_HOME=.backroom2 PORT=8001 backroom up`
    """
    # Here, so that `backroom --help` stays quick.
    from backroom.cli._house import keep_house  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415

    raise typer.Exit(keep_house(settings(), procfile=procfile, simulate=simulator))
