"""Tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table whose cells are shown as they are: what looks like markup in them is none."""
    built = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for index, name in enumerate(head):
        # A name that is cut is no name; the last column may wrap.
        built.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in rows:
        built.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return built


def show(*tables: Table) -> None:
    """Print tables with an empty line between them."""
    console = Console()
    for index, one in enumerate(tables):
        if index:
            console.print()
        console.print(one)


def show_json(found: object) -> None:
    """Print for programs."""
    typer.echo(json.dumps(found, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
