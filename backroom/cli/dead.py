"""`backroom dead`: the dead letters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.domain.errors import Invalid

Ids = Annotated[list[str], typer.Argument(help="Ids as `backroom dead ls` shows them.")]


def commands(app: typer.Typer) -> None:
    """Add `dead`."""
    dead = typer.Typer(help="The dead letters: what no further attempt would help.", no_args_is_help=True)
    dead.command("ls")(ls)
    dead.command("show")(show)
    dead.command("retry")(retry)
    dead.command("discard")(discard)
    app.add_typer(dead, name="dead")


def ls(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """List dead letters, newest first, without what was in them: `backroom dead ls --limit 10`."""
    from backroom.cli import _table  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    with open_queues() as queues:
        found = queues.dead(limit=limit, after=after)
    rows = [
        {
            "id": dead.id,
            "job": dead.job,
            "at": dead.at.isoformat(timespec="seconds"),
            "attempts": dead.attempts,
            "reason": dead.reason,
        }
        for dead in found
    ]
    if as_json:
        _table.show_json(rows)
    else:
        head = ("id", "job", "at", "attempts", "reason")
        _table.show(_table.table("Dead letters", head, ([str(row[name]) for name in head] for row in rows)))


def show(id: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Show one with its message, which may hold people's data: `backroom dead show ID`."""
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`

    with open_queues() as queues:
        dead = queues.dead_letter(id)
    if dead is None:
        raise _not_dead(id)
    typer.echo(f"job       {dead.job or 'cannot be read'}")
    typer.echo(f"queue     {dead.queue or 'cannot be read'}")
    typer.echo(f"died      {dead.at.isoformat(timespec='seconds')} after {dead.attempts} failed attempts")
    typer.echo(f"reason    {dead.reason}")
    typer.echo(_readable(dead.body))


def retry(ids: Ids) -> None:
    """Put them back on their queues with all attempts before them: `backroom dead retry ID`."""
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`

    with open_queues() as queues:
        for id in ids:
            if not queues.retry(id):
                raise _not_dead(id)
            typer.echo(f"queued {id}")


def discard(ids: Ids) -> None:
    """Drop them for good: `backroom dead discard ID`."""
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`

    with open_queues() as queues:
        for id in ids:
            # What merely waits is not ours to drop.
            if queues.find(id)[0] != "dead" or not queues.discard(id):
                raise _not_dead(id)
            typer.echo(f"dropped {id}")


def _readable(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return repr(body)


def _not_dead(id: str) -> Invalid:
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    return Invalid("ID", f"there is no dead letter {id}", "`backroom dead ls` lists them")
