"""`backroom queue`: what waits, and who works."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def commands(app: typer.Typer) -> None:
    """Add `queue`."""
    queue = typer.Typer(help="What waits, and who works.", no_args_is_help=True)
    # A callback makes typer keep the command's name where there is one command only.
    queue.callback()(lambda: None)
    queue.command("ls")(ls)
    app.add_typer(queue, name="queue")


def ls(*, as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False) -> None:
    """Show how much each queue holds, how long its oldest message waits, and every worker: `backroom queue ls`."""
    from backroom.cli._settings import open_queues  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415

    with open_queues() as queues:
        depths, workers = queues.depths(), queues.workers()
    if as_json:
        show_json({"queues": [asdict(depth) for depth in depths.values()], "workers": [asdict(one) for one in workers]})
        return
    show(
        table(
            "Queues",
            ("queue", "ready", "later", "running", "oldest"),
            (
                (
                    depth.queue,
                    f"{depth.ready:,}",
                    f"{depth.delayed:,}",
                    f"{depth.inflight:,}",
                    f"{depth.oldest.total_seconds():,.1f} s" if depth.oldest is not None else "",
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
