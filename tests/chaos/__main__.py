"""`python -m tests.chaos`: breaks everything at random moments, and counts what was lost and what was done twice."""

from __future__ import annotations

import dataclasses
import logging
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backroom.domain.errors import CannotStart
from tests.chaos import report
from tests.chaos.audit import Verdict
from tests.chaos.jobs import Arm
from tests.chaos.plan import Run, Size
from tests.chaos.story import Tell, play

app = typer.Typer(add_completion=False)

# At such a pace two cores always have some in hand.
PER_SECOND = 800
FULL = Size(jobs=100_000, kills=30, engine_kills=3, span=0, lease=15)
# Two workers may be away at once, and a busy machine takes seconds to start another.
QUICK = Size(
    jobs=1_500,
    kills=3,
    engine_kills=1,
    span=10,
    lease=4,
    workers=2,
    threads=3,
    patience=40,
    resumed_within=40,
)
DISK = {"jobs": 1_000, "span": 5.0}
FILE_WIDTH = 130
TOLD_EVERY = 15.0


@app.command()
def run(
    *,
    jobs: Annotated[int | None, typer.Option(help="How many jobs in each run.", min=100)] = None,
    kills: Annotated[int | None, typer.Option(help="How many workers are killed.", min=0)] = None,
    engine_kills: Annotated[int | None, typer.Option(help="How often Valkey is killed.", min=0)] = None,
    lease: Annotated[float | None, typer.Option(help="Seconds until a silent worker is taken for dead.")] = None,
    arm: Annotated[Literal["ours", "stock", "both"], typer.Option(help="Whose queue.")] = "both",
    only: Annotated[Literal["all", "kills", "calm", "disk"], typer.Option(help="One run of the three.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Ours alone, small, with kills: under 45 seconds.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the plan of faults; drawn and told if not given.")] = None,
) -> None:
    """Kill workers, senders and engines at work, and count. Fails if ours lost or doubled anything."""
    # Asked to stop, leave by the front door: what was started is stopped, the folder removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    size = _size(QUICK if quick else FULL, jobs=jobs, kills=kills, engine_kills=engine_kills, lease=lease)
    runs: dict[str, list[Run]] = {
        "all": ["kills"] if quick else ["kills", "calm", "full disk"],
        "kills": ["kills"],
        "calm": ["calm"],
        "disk": ["full disk"],
    }
    arms: list[Arm] = ["ours", "stock"] if arm == "both" and not quick else ["stock" if arm == "stock" else "ours"]
    verdicts: list[Verdict] = []
    skipped: list[str] = []
    failed = False
    for one in arms:
        for which in runs[only]:
            real = dataclasses.replace(size, **DISK) if which == "full disk" else size
            try:
                with _progress(f"{one}: {which}", real.jobs) as tell:
                    verdicts.append(play(one, which, real, seed=seed, tell=tell))
            except PermissionError as error:
                skipped.append(f"{one}: {which}: {error}")
            except (CannotStart, TimeoutError) as error:
                skipped.append(f"{one}: {which}: {error}")
                failed = True
    if json:
        print(report.to_json(verdicts, size, seed=seed, skipped=skipped), flush=True)  # noqa: T201 - for programs
    else:
        console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
        report.show(verdicts, size, seed=seed, skipped=skipped, console=console)
    if failed or not all(check["ok"] for check in report.promises(verdicts, size)):
        raise typer.Exit(1)


def _size(size: Size, *, jobs: int | None, kills: int | None, engine_kills: int | None, lease: float | None) -> Size:
    asked = {"jobs": jobs, "kills": kills, "engine_kills": engine_kills, "lease": lease}
    size = dataclasses.replace(size, **{name: value for name, value in asked.items() if value is not None})
    # Long enough for the jobs, and for each kill to be felt before the next.
    span = size.span or max(15.0, size.jobs / PER_SECOND, size.kills * 4.0)
    return dataclasses.replace(size, span=span)


@contextmanager
def _progress(name: str, jobs: int) -> Iterator[Tell]:
    errors = Console(stderr=True)
    if errors.is_terminal:
        columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("[dim]{task.fields[last]}"), console=errors, transient=True) as progress:
            task = progress.add_task(name, total=jobs, last="")
            yield lambda accepted, done, last: progress.update(
                task, completed=done, last=f"{accepted} accepted, {last}"
            )
        return
    told = time.monotonic()

    def tell(accepted: int, done: int, last: str) -> None:
        nonlocal told
        if time.monotonic() - told > TOLD_EVERY:
            told = time.monotonic()
            errors.print(f"{name}: {accepted} accepted, {done} done of {jobs}, {last}", highlight=False)

    yield tell


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos")
