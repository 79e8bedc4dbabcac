"""`python -m benchmarks`: runs one benchmark, or all of them, and prints figures with their targets."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console

from benchmarks.frame.plan import Plan
from benchmarks.frame.report import Report, show, to_json

app = typer.Typer(add_completion=False)

SHELF = Path(__file__).parent
IMAGES = SHELF.parent / "docs" / "images"
# `--quick` ends within 50 s; what is left of them is for what comes after the rounds.
QUICK = timedelta(seconds=36)
WHOLE = timedelta(minutes=10)
QUICK_ROUNDS = 3
ROUNDS = 7
FILE_WIDTH = 120


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in SHELF.glob("[!_]*.py"))


def usual() -> list[str]:
    """Those that run where none is named: not those that say `ONLY_NAMED`, because they take an hour."""
    return [name for name in names() if not getattr(_module(name), "ONLY_NAMED", False)]


@app.command()
def run(
    name: Annotated[
        str | None, typer.Argument(help="Which benchmark; all but `soak`, which takes an hour, if none is named.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller rounds: under 50 seconds each.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw it into docs/images, where a benchmark has a plot.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a target is not reached.")] = False,
) -> None:
    """Measure, and print figures with their targets. A target that is missed is told, and fails only if you ask."""
    if name is not None and name not in names():
        raise typer.BadParameter(f"there is no benchmark {name!r}, but {', '.join(names())}", param_hint="NAME")
    # Asked to stop, leave by the front door: what was started is stopped, the folder removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    errors = Console(stderr=True)
    reached = True
    for bench in [name] if name else usual():
        report = _measure(bench, quick=quick, errors=errors)
        reached &= report.reached
        if json:
            print(to_json(report), flush=True)  # noqa: T201 - for programs: no colours, no folding
        else:
            show(report, Console(width=None if sys.stdout.isatty() else FILE_WIDTH))
        if plot:
            _draw(report, errors)
    if strict and not reached:
        raise typer.Exit(1)


def _measure(bench: str, *, quick: bool, errors: Console) -> Report:
    def tell(what: str) -> None:
        if sys.stderr.isatty():
            errors.print(f"[dim]{bench}: {what}[/dim]")

    module = _module(bench)
    # A benchmark with many sides may ask for more.
    span: timedelta = QUICK if quick else getattr(module, "SPAN", WHOLE)
    plan = Plan(
        quick=quick,
        rounds=QUICK_ROUNDS if quick else ROUNDS,
        rounds_end=time.monotonic() + span.total_seconds(),
        tell=tell,
    )
    report: Report = module.measure(plan)
    return report


def _module(bench: str) -> Any:
    return importlib.import_module(f"benchmarks.{bench}")


def _draw(report: Report, errors: Console) -> None:
    draw = getattr(_module(report.bench), "draw", None)
    if draw is None:
        return
    try:
        for path in draw(report, IMAGES):
            errors.print(f"drawn: {path}")
    except ModuleNotFoundError as error:
        errors.print(f"not drawn, for {error.name} is not installed: `make bench` installs it")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
