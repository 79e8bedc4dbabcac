"""`backroom demo`: a shop plays on the real API, and what came of it is read back."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from backroom.cli import INTERRUPTED

ORDERS_OF_A_FILE, ORDERS_OF_A_SHOP = 500, 2_000
KEEP = '`make demo ARGS="--keep"` leaves it open.'


def commands(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)


def demo(
    *,
    orders: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Replay the orders of this file (.csv, .csv.xz).")
    ] = None,
    skus: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="What its articles are called (.csv, .csv.xz).")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="How many orders: the first 500 of a file, 2,000 without one; 0 for all of a file."),
    ] = None,
    users: Annotated[int, typer.Option(min=1, max=100_000, help="How many customers the made-up shop has.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Another number is another shop.")] = 1,
    speed_up: Annotated[
        float,
        typer.Option(
            min=0, help="How much faster than in the file: 100000 plays a year in five minutes. 0: no waiting."
        ),
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Send what an earlier run has sent again, too.")] = False,
    patience: Annotated[int, typer.Option(min=1, help="How many seconds the letters have to arrive.")] = 300,
    keep: Annotated[bool, typer.Option("--keep", help="Leave a house open that was started for this.")] = False,
    yes_really_send: Annotated[bool, typer.Option("--yes-really-send", help="Even if the carriers are real.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Play a shop on the running house, or on one that is started for it.

    Customers look around, buy, and are told that their order is on its way; some of their letters go wrong on purpose.
    Then somebody tries passwords, memory runs low, and the day is counted. At the end everything is read back from the
    API. Exit code 1 if a notification that was accepted has not come to a final state, or a part does not show.
    """
    # Here, so that `backroom --help` stays quick.
    from rich.console import Console  # noqa: PLC0415

    from backroom.cli import _demo_report as report  # noqa: PLC0415
    from backroom.cli._demo_house import open_house  # noqa: PLC0415
    from backroom.cli._demo_show import Plan, run  # noqa: PLC0415
    from backroom.cli._household import is_locked  # noqa: PLC0415
    from backroom.cli._table import show_json  # noqa: PLC0415
    from backroom.domain.errors import CannotStart  # noqa: PLC0415
    from backroom.settings import settings  # noqa: PLC0415

    console = Console(stderr=as_json)
    usual = ORDERS_OF_A_FILE if orders else ORDERS_OF_A_SHOP
    plan = Plan(
        orders=orders,
        skus=skus,
        limit=usual if limit is None or not (limit or orders) else limit,
        users=users,
        seed=seed,
        speed_up=speed_up,
        fresh=fresh,
        patience=timedelta(seconds=patience),
    )
    with ExitStack() as stack:
        if not keep and not is_locked(settings().home):
            console.print(f"No house runs here: one is started, and stopped at the end. {KEEP}", highlight=False)
        with console.status("Looking for the house, or opening it …"):
            house = stack.enter_context(open_house(settings(), keep=keep))
        if house.real and not yes_really_send:
            raise CannotStart(
                f"letters would really go out, through {' and '.join(house.real)}",
                mend="take the carriers' keys out of the environment; or add --yes-really-send if you mean it",
            )
        outcome = run(plan, house, console)
        if as_json:
            show_json(report.document(outcome, house))
        else:
            report.show(outcome, house, console)
            if house.ours and not keep:
                console.print(f"The house stops now, and the letters' page with it. {KEEP}", highlight=False)
        if keep and house.ours:
            console.print(f"The house stays open at {house.door}; to stop it: kill {house.ours}", highlight=False)
    raise typer.Exit(INTERRUPTED if outcome.stopped else int(not outcome.good))
