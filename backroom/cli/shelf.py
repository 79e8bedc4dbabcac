"""`backroom shelf`: what stands on the shelves, and the pages that are generated from them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.cli._catalogue import Catalogue
    from backroom.shelf import Shelves

STYLES = {"on": "green", "simulated": "cyan", "off": "dim", "wrong": "bold red"}


def commands(app: typer.Typer) -> None:
    """Add `shelf`."""
    app.command()(shelf)


def shelf(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
    docs: Annotated[bool, typer.Option("--docs", help="Write the generated pages below this folder.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a generated page is stale, and name it.")
    ] = False,
) -> None:
    """List every job, channel, rule and notification type with its one-line meaning.

    Shelves of your own come along: `BACKROOM_SHELVES=shop.backroom backroom shelf`. No engine has to run.
    """
    # Here, so that `backroom --help` stays quick.
    from backroom.cli._catalogue import catalogue  # noqa: PLC0415
    from backroom.cli._settings import house_settings  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415
    from backroom.shelf import Shelves  # noqa: PLC0415

    if docs or check:
        # What a running house adds to the settings has no place on a page.
        _pages(Shelves(settings().shelves), write=docs)
        return
    given = house_settings()
    found = catalogue(given, Shelves(given.shelves))
    if as_json:
        from backroom.cli._table import show_json  # noqa: PLC0415

        show_json(asdict(found))
    else:
        _show(found)


def _pages(shelves: Shelves, *, write: bool) -> None:
    from backroom.cli import _pages  # noqa: PLC0415
    from backroom.cli._catalogue import catalogue, door_document  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415

    given, root = settings(), Path.cwd()
    wanted = _pages.pages(catalogue(given, shelves), channels=shelves.channels, document=door_document(given))
    wanted |= _pages.decisions(root)
    if write:
        for name in _pages.write(root, wanted):
            typer.echo(f"written: {name}")
        return
    names = _pages.stale(root, wanted)
    for name in names:
        typer.secho(f"stale: {name}; `make docs` writes it anew", fg=typer.colors.RED, err=True)
    raise typer.Exit(bool(names))


def _show(found: Catalogue) -> None:
    from rich.text import Text  # noqa: PLC0415

    from backroom.cli._table import show, table  # noqa: PLC0415

    show(
        table(
            "Jobs: what can be asked",
            ("job", "queue", "every", "batch", "about"),
            ((row.name, row.queue, row.every, str(row.batch or ""), row.about) for row in found.jobs),
        ),
        table(
            "Channels: how word gets out",
            ("channel", "medium", "state", "why", "about"),
            ((row.name, row.medium, Text(row.state, STYLES[row.state]), row.why, row.about) for row in found.channels),
        ),
        table(
            "Rules: what worries us",
            ("rule", "every", "scope", "severity", "about"),
            ((row.name, row.every, row.scope, row.severity, row.about) for row in found.rules),
        ),
        table(
            "Notification types: the words",
            ("type", "category", "channels", "locales", "about"),
            (
                (row.name, row.category, ", ".join(row.channels), ", ".join(row.locales), row.about)
                for row in found.types
            ),
        ),
    )
