"""`backroom keys`: what applications come in with."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def commands(app: typer.Typer) -> None:
    """Add `keys`."""
    keys = typer.Typer(help="What applications come in with.", no_args_is_help=True)
    # A callback makes typer keep the command's name where there is one command only.
    keys.callback()(lambda: None)
    keys.command("add")(add)
    app.add_typer(keys, name="keys")


def add(
    application: Annotated[str, typer.Argument(help="The application's name.")],
    *,
    kind: Annotated[
        Literal["secret", "write"],
        typer.Option(help="secret acts for the application; write only hands in events, and may sit in a browser."),
    ],
) -> None:
    """Add a key to an application and print it, once: `backroom keys add shop --kind write`."""
    from backroom.cli._settings import find_app, house_settings, need_postgres  # noqa: PLC0415 - slow
    from backroom.connect import secret  # noqa: PLC0415
    from backroom.store.admin import create_key  # noqa: PLC0415

    given = need_postgres(house_settings())
    app = find_app(given, application)
    typer.echo(create_key(given.database_url, app=app, kind=kind, secret=secret(given)).text)
