"""The commands of `backroom queue` that move messages: `drain`, `move`, `purge`, `mend`."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.queue.ops import Depth, Queues

POLL = timedelta(milliseconds=200)
MOST_IN_A_CALL = 500
NOT_IN_TIME = 1

Name = Annotated[str, typer.Argument(help="Its name.")]


def commands(queue: typer.Typer) -> None:
    """Add them."""
    for command in (drain, move, purge, mend):
        queue.command()(command)


def drain(
    queue: Name,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing is ready, limited or running.")] = False,
    within: Annotated[str, typer.Option(help="How long to wait at most; exit with 1 after that.")] = "1h",
) -> None:
    """Have nothing more come in while workers finish what is there: `backroom queue drain mail --wait`.

    Senders are told to come back later, and the front door answers 503. What follows from jobs under way still comes
    in, or they could not end. Messages that are due later stay. `backroom queue resume` ends it.
    """
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.cli._span import span  # noqa: PLC0415

    longest = span("--within", within)
    with open_queues() as queues:
        _known.check_queues(queues, [queue])
        queues.rule(queue, intake="draining")
        typer.echo(f"draining {queue}")
        if not wait:
            return
        try:
            if not queues.workers():
                typer.secho("no worker is alive, so nothing gets less", fg=typer.colors.YELLOW, err=True)
            left = _wait_until_empty(queues, queue, within=longest)
        except KeyboardInterrupt:
            typer.echo(_how_to_go_on(queue), err=True)
            raise
    if left is None or _busy(left):
        typer.secho(f"still {_busy(left) if left else 0:,} in {queue} after {within}", fg=typer.colors.YELLOW, err=True)
        typer.echo(_how_to_go_on(queue), err=True)
        raise typer.Exit(NOT_IN_TIME)
    later = f"; {left.delayed:,} due later stay" if left.delayed else ""
    typer.echo(f"empty {queue}{later}. `backroom queue resume {queue}` takes messages in again")


def move(
    queue: Annotated[str, typer.Argument(metavar="FROM", help="Where they wait.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="Where they go, behind what waits there.")],
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most; otherwise all that are ready.")] = None,
) -> None:
    """Move messages that are ready to another queue: `backroom queue move mail quiet --limit 1000`.

    They keep their priority and their application's turn. Messages that are due later, run or wait for a limit stay.
    """
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._progress import progress  # noqa: PLC0415
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    if queue == to:
        raise Invalid("TO", "is the queue itself", "another one")
    with open_queues() as queues:
        _known.check_queues(queues, [queue, to])
        depth = queues.depths().get(queue)
        # Not more than there are now: whoever sends meanwhile would keep us here for ever.
        wanted = min(limit or depth.ready, depth.ready) if depth else 0
        moved = 0
        with progress(f"{queue} to {to}", total=wanted) as done:
            try:
                while moved < wanted and (some := queues.move(queue, to, limit=min(MOST_IN_A_CALL, wanted - moved))):
                    moved += some
                    done(moved)
            finally:
                typer.echo(f"moved {moved:,} of {wanted:,} from {queue} to {to}")


def purge(
    queue: Name, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; for programs.")] = False
) -> None:
    """Drop all messages of a queue that no worker holds, for good: `backroom queue purge mail`.

    Those that are due later or wait for a limit go, too. Nothing brings them back. What is sent meanwhile stays, unless
    it is for later or meets a limit. Ctrl-C leaves the rest, and the same command goes on.
    """
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._progress import progress  # noqa: PLC0415
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    with open_queues() as queues:
        _known.check_queues(queues, [queue])
        depth = queues.depths().get(queue)
        if not yes:
            said = f"{depth.ready:,} ready, {depth.delayed:,} due later, {depth.limited:,} limited" if depth else "none"
            typer.confirm(f"Drop all messages of {queue} ({said}) for good?", abort=True)
        gone = 0

        def told(count: int) -> None:
            nonlocal gone
            gone = count
            done(count)

        with progress(f"purging {queue}", total=depth.waiting if depth else 0) as done:
            try:
                queues.purge(queue, told=told)
            finally:
                typer.echo(f"dropped {gone:,} from {queue}")


def _wait_until_empty(queues: Queues, queue: str, *, within: timedelta) -> Depth | None:
    from backroom.cli._progress import progress  # noqa: PLC0415 - slow, and not for `--help`

    deadline = time.monotonic() + within.total_seconds()
    depth = queues.depths().get(queue)
    most = _busy(depth) if depth else 0
    with progress(f"draining {queue}", total=most) as done:
        while depth and _busy(depth) and time.monotonic() < deadline:
            time.sleep(POLL.total_seconds())
            depth = queues.depths().get(queue)
            most = max(most, _busy(depth) if depth else 0)
            done(most - (_busy(depth) if depth else 0))
    return depth


def _busy(depth: Depth) -> int:
    return depth.ready + depth.limited + depth.inflight


def _how_to_go_on(queue: str) -> str:
    return (
        f"{queue} goes on draining. `backroom queue drain {queue} --wait` watches again, "
        f"`backroom queue resume {queue}` takes messages in again"
    )


def mend() -> None:
    """After keys were deleted by hand, put back into line what no worker would ever find: `backroom queue mend`."""
    from backroom.cli._settings import open_queue  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.queue.mend import mend as put_back  # noqa: PLC0415

    with open_queue() as (given, client):
        count = put_back(client, prefix=given.key_prefix)
    typer.echo(f"put {count:,} back into line" if count else "nothing to mend: every message stands somewhere")
