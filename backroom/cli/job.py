"""`backroom job`: one message, from when it was sent to how it ended."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.queue.life import Life
    from backroom.queue.ops import Cancelled, Queues

POLL = timedelta(milliseconds=250)
FAILED = 1
UNKNOWN = 3
BAR = 24

Id = Annotated[str, typer.Argument(help="Its id.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids as `backroom jobs run` and the door say them.")]


def commands(app: typer.Typer) -> None:
    """Add `job`."""
    job = typer.Typer(help="One message: what became of it, and what should.", no_args_is_help=True)
    for command in (show, cancel, retry):
        job.command()(command)
    app.add_typer(job, name="job")


def show(
    id: Id,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Tell every change until it is over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Say where a message is, how far it is, and how it ended: `backroom job show ID --watch`.

    Exits with 0 where it is done or on its way, 1 where it is dead, cancelled or expired, 3 where nobody knows it.
    What was asked is not shown; `backroom dead show` and `backroom queue peek --bodies` do that.
    """
    from backroom.cli._known import no_message  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.cli._table import show_json  # noqa: PLC0415

    with open_queues() as queues:
        life = queues.life(id)
        if life.state == "unknown":
            typer.secho(f"backroom: {no_message(queues, id)}", fg=typer.colors.RED, err=True)
            raise typer.Exit(UNKNOWN)
        if watch:
            life = _watched(queues, life, silently=as_json)
        reason = _why_dead(queues, id) if life.state == "dead" else ""
    if as_json:
        show_json({name: value for name, value in asdict(life).items() if name != "body"} | {"reason": reason})
    else:
        _print(life, reason)
    raise typer.Exit(FAILED if life.state in {"dead", "cancelled", "expired"} else 0)


def cancel(ids: Ids) -> None:
    """Cancel messages: at once where they wait; what runs is asked to stop: `backroom job cancel ID`.

    Exits with 1 where one of them could not be cancelled, for it is over.
    """
    from backroom.cli._known import no_message  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    said: dict[Cancelled, str] = {
        "cancelled": "cancelled {id}",
        "asked": "asked {id} to stop; it runs, and stops where its job looks for that",
        "dead": "{id} is dead already; `backroom dead discard {id}` drops it",
        "done": "{id} is over already",
    }
    over = False
    with open_queues() as queues:
        for id in ids:
            became = queues.cancel(id)
            if became == "unknown":
                raise no_message(queues, id)
            over = over or became in {"dead", "done"}
            typer.echo(said[became].format(id=id))
    raise typer.Exit(FAILED if over else 0)


def retry(ids: Ids) -> None:
    """Have a dead message tried again, with all attempts before it: `backroom job retry ID`."""
    from backroom.cli._known import no_message  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    anew = "what was asked is not kept after the end: ask anew, with `backroom jobs run`"
    with open_queues() as queues:
        for id in ids:
            if queues.retry(id):
                typer.echo(f"queued {id}")
                continue
            state = queues.life(id).state
            if state == "unknown":
                raise no_message(queues, id)
            over = state in {"done", "cancelled", "expired"}
            raise Invalid("ID", f"{id} is {state}, not dead", anew if over else "it comes to its turn by itself")


def _watched(queues: Queues, life: Life, *, silently: bool) -> Life:
    from backroom.queue.life import OVER  # noqa: PLC0415 - slow, and not for `--help`

    told = ""
    while True:
        line = _in_short(life)
        if line != told and not silently:
            typer.echo(f"{datetime.now(UTC):%H:%M:%S}  {line}")
            told = line
        # What is forgotten while somebody watches was over.
        if life.state in OVER or life.state == "unknown":
            return life
        time.sleep(POLL.total_seconds())
        life = queues.life(life.id)


def _in_short(life: Life) -> str:
    attempts = f" after {life.attempts} failed attempts" if life.attempts else ""
    return f"{life.state}{attempts}" + (f"  {_bar(life.progress)} {life.note}" if life.progress is not None else "")


def _print(life: Life, reason: str) -> None:
    rows = {
        "id": life.id,
        "job": life.job,
        "queue": life.queue,
        "state": life.state + (", asked to stop" if life.cancelling else ""),
        "sent": _time(life.sent),
        "due": _time(life.due),
        "ended": _time(life.ended),
        "worker": life.worker,
        "attempts": f"{life.attempts} failed" if life.attempts else "",
        "progress": _bar(life.progress) if life.progress is not None else "",
        "note": life.note,
        "reason": reason,
        "trace": life.trace,
    }
    for name, value in rows.items():
        if value:
            typer.echo(f"{name:<9} {value}")
    for error in life.errors:
        typer.echo(f"{'error':<9} {error}")
    if life.result is not None:
        import json  # noqa: PLC0415

        typer.echo(f"{'result':<9} {json.dumps(life.result, ensure_ascii=False)}")


def _why_dead(queues: Queues, id: str) -> str:
    dead = queues.dead_letter(id)
    return dead.reason if dead else ""


def _bar(share: float) -> str:
    full = round(share * BAR)
    return f"[{'#' * full}{'.' * (BAR - full)}] {share:.0%}"


def _time(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
