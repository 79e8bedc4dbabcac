"""`backroom dead`: the dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from backroom.cli import _wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backroom.cli._wanted import Wanted
    from backroom.queue.letters import Dead
    from backroom.queue.ops import Queues

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids as `backroom dead ls` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first; for programs.")]


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
    job: _wanted.Job = "",
    queue: _wanted.Queue = "",
    reason: _wanted.Reason = "",
    app: _wanted.App = "",
    since: _wanted.Since = "",
    before: _wanted.Before = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """List dead letters, newest first, without what was in them: `backroom dead ls --job user.put --since 1h`."""
    from backroom.cli import _table  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    meant = _wanted.wanted(job=job, queue=queue, reason=reason, app=app, since=since, before=before)
    with open_queues() as queues:
        found = list(islice((dead for page in meant.pages(queues, after=after) for dead in page), limit))
        if not found:
            meant.check_names(queues)
    rows = [
        {
            "id": dead.id,
            "job": dead.job,
            "queue": dead.queue,
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
    from backroom.cli._known import not_dead  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    with open_queues() as queues:
        dead = queues.dead_letter(id)
        if dead is None:
            raise not_dead(queues, id)
    typer.echo(f"job       {dead.job or 'cannot be read'}")
    typer.echo(f"queue     {dead.queue or 'cannot be read'}")
    typer.echo(f"died      {dead.at.isoformat(timespec='seconds')} after {dead.attempts} failed attempts")
    typer.echo(f"reason    {dead.reason}")
    typer.echo(_readable(dead.body))


def retry(
    ids: Ids = None,
    *,
    job: _wanted.Job = "",
    queue: _wanted.Queue = "",
    reason: _wanted.Reason = "",
    app: _wanted.App = "",
    since: _wanted.Since = "",
    before: _wanted.Before = "",
    every: All = False,
    message: Annotated[str, typer.Option(help="Ask for this instead, as JSON; for one id.")] = "",
    yes: Yes = False,
) -> None:
    """Put them back on their queues with all attempts before them: `backroom dead retry --job user.put --since 1h`.

    One with another message: `backroom dead retry ID --message '{"user": "ada"}'`. It must fit the job; the
    application stays.
    """
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`

    meant = _wanted.wanted(job=job, queue=queue, reason=reason, app=app, since=since, before=before)
    _check_choice(ids, meant, every=every, message=message)
    with open_queues() as queues:
        if ids:
            for id in ids:
                _retry_one(queues, id, message)
                typer.echo(f"queued {id}")
            return
        broken = _each_page(queues, meant, "Retry", yes=yes, said="queued", act=queues.retry_all)
    for id in broken[:10]:
        typer.secho(f"{id} cannot be read, so no queue would take it", fg=typer.colors.YELLOW, err=True)


def discard(
    ids: Ids = None,
    *,
    job: _wanted.Job = "",
    queue: _wanted.Queue = "",
    reason: _wanted.Reason = "",
    app: _wanted.App = "",
    since: _wanted.Since = "",
    before: _wanted.Before = "",
    every: All = False,
    yes: Yes = False,
) -> None:
    """Drop them for good: `backroom dead discard --reason "no such user" --before 7d`."""
    from backroom.cli._known import not_dead  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    meant = _wanted.wanted(job=job, queue=queue, reason=reason, app=app, since=since, before=before)
    _check_choice(ids, meant, every=every)
    with open_queues() as queues:
        for id in ids or []:
            # What merely waits is not ours to drop.
            if not queues.discard_dead([id]):
                raise not_dead(queues, id)
            typer.echo(f"dropped {id}")
        if not ids:
            _each_page(
                queues,
                meant,
                "Drop",
                yes=yes,
                said="dropped",
                act=lambda page: (queues.discard_dead([dead.id for dead in page]), []),
            )


def _check_choice(ids: list[str] | None, meant: Wanted, *, every: bool, message: str = "") -> None:
    from backroom.domain.errors import Invalid  # noqa: PLC0415 - slow, and not for `--help`

    if ids and (meant or every):
        raise Invalid("ID", "says which ones, and so do the filters", "one or the other")
    if not (ids or meant or every):
        raise Invalid("ID", "is missing", "ids, filters such as --job, or --all")
    if message and len(ids or []) != 1:
        raise Invalid("--message", "is for one dead letter", "one id")


def _retry_one(queues: Queues, id: str, message: str) -> None:
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`

    dead = queues.dead_letter(id)
    if dead is None or not queues.retry(id, _new_message(dead, message) if message else None):
        raise _known.not_dead(queues, id)


def _new_message(dead: Dead, text: str) -> object:
    from backroom.cli._known import jobs  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli.jobs import typed  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.words.near import unknown  # noqa: PLC0415

    if not dead.job:
        raise Invalid("ID", "cannot be read, so nobody knows what job it was for")
    shelf = jobs()
    if dead.job not in shelf:
        raise unknown("ID", f"job as {dead.job} on the shelf, so its message cannot be checked", dead.job, shelf)
    return typed(shelf[dead.job], text, more={"app": dead.app} if dead.app else {})


def _each_page(
    queues: Queues,
    meant: Wanted,
    verb: str,
    *,
    yes: bool,
    said: str,
    act: Callable[[Sequence[Dead]], tuple[int, list[str]]],
) -> list[str]:
    """Do something to all that are meant, a page at a time; what could not be done to which."""
    from backroom.cli._progress import progress  # noqa: PLC0415 - slow, and not for `--help`

    total = sum(map(len, meant.pages(queues)))
    if not total:
        meant.check_names(queues)
    elif not yes:
        typer.confirm(f"{verb} {total:,} dead letters?", abort=True)
    done, left = 0, list[str]()
    with progress(said, total=total) as show_done:
        try:
            for page in meant.pages(queues) if total else ():
                count, broken = act(page)
                done += count
                left += broken[: max(0, 1_000 - len(left))]
                show_done(done)
        finally:
            typer.echo(f"{said} {done:,} of {total:,}")
    return left


def _readable(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return repr(body)
