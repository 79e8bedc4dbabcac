"""`backroom apps`: the applications that may come in."""

from __future__ import annotations

from typing import Annotated

import typer


def commands(app: typer.Typer) -> None:
    """Add `apps`."""
    apps = typer.Typer(help="The applications that may come in.", no_args_is_help=True)
    apps.command("ls")(ls)
    apps.command("add")(add)
    app.add_typer(apps, name="apps")


def ls(*, as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False) -> None:
    """List the applications, oldest first: `backroom apps ls`."""
    from backroom.cli._settings import house_settings, need_postgres  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415
    from backroom.store.admin import list_applications  # noqa: PLC0415

    found = list_applications(need_postgres(house_settings()).database_url)
    if as_json:
        show_json([{"name": name, "id": id} for id, name in found])
    else:
        show(table("Applications", ("name", "id"), ((name, id) for id, name in found)))


def add(name: Annotated[str, typer.Argument(help="A name that no other application has.")]) -> None:
    """Add an application and print its two keys, once: `backroom apps add shop`.

    Only a hash of each key is kept: whoever loses one makes another with `backroom keys add`.
    """
    from backroom.cli._settings import house_settings, need_postgres  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.connect import secret  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.store.admin import create_application  # noqa: PLC0415

    given = need_postgres(house_settings())
    try:
        made = create_application(given.database_url, name=name, secret=secret(given))
    except ValueError as error:
        raise Invalid("NAME", str(error), "another name, or `backroom keys add` for one more key") from error
    typer.echo(f"application  {made.id}")
    typer.echo(f"secret key   {made.secret_key.text}")
    typer.echo(f"write key    {made.write_key.text}")
