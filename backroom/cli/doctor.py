"""`backroom doctor`: what is missing on this machine, and how to mend it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

MARKS = {"ok": ("✓", "green"), "doubtful": ("!", "yellow"), "broken": ("✗", "bold red")}


def commands(app: typer.Typer) -> None:
    """Add `doctor`."""
    app.command()(doctor)


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False) -> None:
    """Look at everything Backroom needs, and say how to mend what is wrong.

    Exit code 1 if something is broken; what is only doubtful works, but not as promised.
    """
    # Here, so that `backroom --help` stays quick.
    from backroom.cli._checks import all_checks  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415

    found = list(all_checks(settings()))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=2))
    else:
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, show_header=False, padding=(0, 1))
        for check in found:
            mark, style = MARKS[check.state]
            table.add_row(Text(mark, style), Text(check.name, "bold"), Text(check.found), Text(check.mend, "dim"))
        Console().print(table)
    raise typer.Exit(any(check.state == "broken" for check in found))
