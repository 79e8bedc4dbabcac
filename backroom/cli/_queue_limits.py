"""The commands of `backroom queue` that set bounds: `limit` for a queue, `limits` for what jobs declare by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backroom.domain.limits import Limit, Rate


def commands(queue: typer.Typer) -> None:
    """Add them."""
    for command in (limit, limits):
        queue.command()(command)


def limit(
    queue: Annotated[str, typer.Argument(help="Its name.")],
    *,
    most: Annotated[int | None, typer.Option(min=0, help="How many run at once over all workers.")] = None,
    mark: Annotated[int | None, typer.Option(min=0, help="How many may be ready before none is taken in.")] = None,
    age: Annotated[str, typer.Option(help="How old the oldest may be before none is taken in.")] = "",
) -> None:
    """Set bounds for a queue, for every worker and door at once: `backroom queue limit mail --most 4 --age 5m`.

    0 takes a bound back to the usual one: any number at once, the usual mark, any age.
    """
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.cli._span import span  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415

    if most is None and mark is None and not age:
        raise Invalid("the command", "says nothing to set", "--most, --mark or --age; `backroom queue ls` shows them")
    oldest = span("--age", age) if age else None
    with open_queues() as queues:
        _known.check_queues(queues, [queue])
        queues.rule(queue, most=most, mark=mark, age=oldest)
    said = {"most": most, "mark": mark, "age": age or None}
    typer.echo(
        f"{queue}: " + ", ".join(f"{name} {value or 'as usual'}" for name, value in said.items() if value is not None)
    )


def limits(
    name: Annotated[str, typer.Argument(help="Which one to set; none to list them.")] = "",
    *,
    rate: Annotated[str, typer.Option(help="How many start in which time, such as 10/1s.")] = "",
    burst: Annotated[int, typer.Option(min=1, help="How many may start at once after a quiet time.")] = 1,
    concurrent: Annotated[int, typer.Option(min=0, help="How many run at once.")] = 0,
    usual: Annotated[bool, typer.Option("--usual", help="Back to what the jobs declare.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """List the limits that jobs declare, or set one in their place: `backroom queue limits sms.account --rate 10/1s`.

    It holds for every worker from its next fetch on, and over restarts, until `--usual`.
    """
    from backroom.cli import _known  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.cli._settings import open_queues  # noqa: PLC0415
    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.domain.limits import Limit  # noqa: PLC0415
    from backroom.words.near import unknown  # noqa: PLC0415

    declared = {limit.name: limit for job in _known.jobs().values() for limit in job.limits}
    with open_queues() as queues:
        set_ones = queues.limits()
        if not name:
            if rate or concurrent or usual:
                raise Invalid("NAME", "is missing", "which limit to set; `backroom queue limits` alone lists them")
            _show(declared, set_ones, as_json=as_json)
            return
        if usual:
            if not queues.usual_limit(name):
                raise unknown("NAME", "limit that was set", name, set_ones)
            typer.echo(f"{name}: as usual")
            return
        if not (rate or concurrent):
            raise Invalid("the command", "says nothing to set", "--rate, --concurrent or --usual")
        try:
            wanted = Limit(name=name, rate=_rate(rate, burst) if rate else None, concurrent=concurrent)
        except ValueError as error:
            raise Invalid("NAME", str(error)) from error
        queues.limit(wanted)
    if name not in declared:
        # Jobs may name a limit that only they know, with `tools.within`.
        typer.secho(f"no job declares {name}: it holds for those that ask for it while they run", fg="yellow", err=True)
    typer.echo(f"{name}: {_said(wanted)}")


def _rate(text: str, burst: int) -> Rate:
    from backroom.cli._span import span  # noqa: PLC0415 - slow, and not for `--help`
    from backroom.domain.errors import Invalid  # noqa: PLC0415
    from backroom.domain.limits import Rate  # noqa: PLC0415

    count, _, per = text.partition("/")
    # `10/s` says the same as `10/1s`.
    per = per if per[:1].isdigit() else f"1{per}"
    try:
        return Rate(int(count), span("--rate", per), burst)
    except ValueError as error:
        raise Invalid("--rate", "is not a rate", "how many in which time, such as 10/1s or 100/1m") from error


def _said(limit: Limit) -> str:
    from backroom.cli._span import spoken  # noqa: PLC0415 - slow, and not for `--help`

    parts = []
    if limit.rate:
        parts.append(f"{limit.rate.count:,} in {spoken(limit.rate.per)}, {limit.rate.burst:,} at once")
    if limit.concurrent:
        parts.append(f"{limit.concurrent:,} running")
    return "; ".join(parts)


def _show(declared: dict[str, Limit], set_ones: dict[str, Limit], *, as_json: bool) -> None:
    from backroom.cli._table import show, show_json, table  # noqa: PLC0415 - slow, and not for `--help`

    rows = [
        {
            "limit": name,
            "for each": " ".join(declared[name].by) if name in declared else "",
            "declared": _said(declared[name]) if name in declared else "",
            "set": _said(set_ones[name]) if name in set_ones else "",
        }
        for name in sorted({*declared, *set_ones})
    ]
    if as_json:
        show_json(rows)
    else:
        head = ("limit", "for each", "declared", "set")
        show(table("Limits", head, ([row[column] for column in head] for row in rows)))
        if not rows:
            typer.echo("no job declares a limit, and none is set", err=True)
