"""`backroom queue`: what waits, who works, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backroom.cli import _queue_limits, _queue_moves

if TYPE_CHECKING:
    from backroom.queue.ops import Depth, Intake

Json = Annotated[bool, typer.Option("--json", help="For programs: JSON.")]
Names = Annotated[list[str], typer.Argument(metavar="QUEUE...", help="Names as `backroom queue ls` shows them.")]


def commands(app: typer.Typer) -> None:
    """Add `queue`."""
    queue = typer.Typer(help="What waits, who works, and what to do about it.", no_args_is_help=True)
    for name, command in (("ls", ls), ("peek", peek), ("pause", pause), ("resume", resume)):
        queue.command(name)(command)
    _queue_moves.commands(queue)
    _queue_limits.commands(queue)
    app.add_typer(queue, name="queue")


def ls(*, as_json: Json = False) -> None:
    """Show how much each queue holds, how long its oldest message waits, and every worker: `backroom queue ls`.

    `limited` waits for a limit; `rules` are those that an operator has set.
    """
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._span import spoken  # noqa: PLC0415
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415

    with open_queues() as queues:
        depths, workers = queues.depths(), queues.workers()
    if as_json:
        show_json({"queues": [asdict(depth) for depth in depths.values()], "workers": [asdict(one) for one in workers]})
        return
    show(
        table(
            "Queues",
            ("queue", "state", "ready", "later", "limited", "running", "oldest", "rules"),
            (
                (
                    depth.queue,
                    depth.intake,
                    *(f"{count:,}" for count in (depth.ready, depth.delayed, depth.limited, depth.inflight)),
                    spoken(depth.oldest) if depth.oldest is not None else "",
                    _rules(depth),
                )
                for depth in depths.values()
            ),
        ),
        table(
            "Workers",
            ("worker", "holds", "lease left"),
            ((one.name, f"{one.holds:,}", f"{one.lease_left.total_seconds():.1f} s") for one in workers),
        ),
    )


def peek(
    queue: Annotated[str, typer.Argument(help="Its name.")],
    *,
    limit: Annotated[int, typer.Option(min=1, max=20, help="How many at most.")] = 10,
    bodies: Annotated[bool, typer.Option("--bodies", help="With what is asked; it may hold people's data.")] = False,
    as_json: Json = False,
) -> None:
    """Show the messages that are taken next, without what is in them: `backroom queue peek quiet --limit 3`."""
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415

    with open_queues() as queues:
        _known.check_queues(queues, [queue])
        found = queues.peek(queue, limit)
    rows = [
        {
            "id": one.message_id,
            "job": one.actor_name,
            "sent": datetime.fromtimestamp(one.message_timestamp / 1000, tz=UTC).isoformat(timespec="seconds"),
            "attempts": int(one.options.get("attempt", 0)),
        }
        | ({"message": one.kwargs.get("message")} if bodies else {})
        for one in found
    ]
    if as_json:
        show_json(rows)
        return
    head = ("id", "job", "sent", "attempts", *(["message"] if bodies else []))
    cells = (
        [json.dumps(row[name], ensure_ascii=False) if name == "message" else str(row[name]) for name in head]
        for row in rows
    )
    show(table(f"Next in {queue}", head, cells))


def pause(names: Names) -> None:
    """Have no worker take anything out; messages still come in: `backroom queue pause mail`.

    What runs goes on to its end. It stays so until `backroom queue resume`, over restarts, too.
    """
    _set(names, "paused")


def resume(names: Names) -> None:
    """Have workers and senders go on, after a pause or a drain: `backroom queue resume mail`."""
    _set(names, "open")


def _set(names: list[str], intake: Intake) -> None:
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415

    with open_queues() as queues:
        _known.check_queues(queues, names)
        for name in names:
            queues.rule(name, intake=intake)
            typer.echo(f"{intake} {name}")


def _rules(depth: Depth) -> str:
    from backroom.cli._span import spoken  # noqa: PLC0415 - slow, and not for `--help`

    said = {
        "most": f"{depth.most:,}" if depth.most is not None else "",
        "mark": f"{depth.mark:,}" if depth.mark is not None else "",
        "age": spoken(depth.age) if depth.age is not None else "",
    }
    return ", ".join(f"{name} {value}" for name, value in said.items() if value)
