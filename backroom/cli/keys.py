"""`backroom keys`: what applications come in with."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def commands(app: typer.Typer) -> None:
    """Add `keys`."""
    keys = typer.Typer(help="What applications come in with.", no_args_is_help=True)
    keys.command("ls")(ls)
    keys.command("add")(add)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")


def ls(*, as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False) -> None:
    """List every application's keys, oldest first, by the part that may be shown: `backroom keys ls`.

    A key reads br_live_ID_… (secret) or br_track_ID_… (write). The rest of it is kept nowhere.
    """
    from backroom.cli._settings import house_settings, need_postgres  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415
    from backroom.store.admin import list_keys  # noqa: PLC0415

    rows = [
        {
            "id": key.id,
            "application": key.application,
            "kind": key.kind,
            "made": key.created_at.isoformat(timespec="seconds"),
            "revoked": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
        }
        for key in list_keys(need_postgres(house_settings()).database_url)
    ]
    if as_json:
        show_json(rows)
    else:
        head = ("id", "application", "kind", "made", "revoked")
        show(table("Keys", head, ([row[name] or "" for name in head] for row in rows)))


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


def revoke(id: Annotated[str, typer.Argument(help="Its id as `backroom keys ls` shows it.")]) -> None:
    """Take a key out of force for good: `backroom keys revoke 4hUq2Zt0Wc`.

    The front doors feel it within a second, or up to ten minutes later where they cannot reach PostgreSQL. To change
    a key without a gap: add one, give it to the application, then revoke the old one.
    """
    from backroom.cli._settings import house_settings, need_postgres  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.store.admin import revoke_key  # noqa: PLC0415

    if not revoke_key(need_postgres(house_settings()).database_url, id=id):
        raise Invalid("ID", f"there is no key {id}", "`backroom keys ls` lists them")
    typer.echo(f"revoked {id}")
