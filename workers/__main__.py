"""`python -m workers`: worker processes and their supervisor."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta

from backroom.domain.errors import BackroomError, Invalid
from backroom.logs import configure
from backroom.queue.open import open_client
from backroom.queue.ops import Queues
from backroom.settings import Settings, listed, settings
from workers.supervisor import Supervisor
from workers.supervisor_child import Plan

# Whoever stops us should not wait for Valkey, too.
ANSWERS_WITHIN = timedelta(seconds=2)
ABOUT = """\
Keeps worker processes at work on the jobs of this house.

A process that dies is replaced alone, and what it held goes to others at once. One that is spent (--recycle-…) is
replaced without cutting a job. One with a job that hangs shows its stacks on standard error, and is replaced.
"""
SIGNALS = """\
signals:
  TERM, INT   stop: jobs may finish within --stop-within seconds, the rest goes to other workers; again to hurry
  HUP         replace every process by one with the code that is there now, one after another
  USR1        show the stacks of every process on standard error

examples:
  python -m workers                                        one process, eight jobs at once
  python -m workers --processes 4 --threads 2              more for jobs that compute
  python -m workers --queues deliveries,default            workers of their own for some queues
  python -m workers --recycle-above-memory 512             for jobs that leak

Each option is a setting, too, shown here as it is now; the option wins. More: docs/how-to/tune-a-worker.md
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run until told to stop; 2 where it cannot start."""
    if os.name != "posix":
        sys.stderr.write("the workers cannot start: their supervisor needs signals; run `dramatiq workers:boot` here\n")
        return 2
    try:
        given = settings()
        plan = _plan(_options(given).parse_args(words))
        _check_queues(plan, given)
        if not given.redis_url:
            raise Invalid("REDIS_URL", "is not set", "`make up` sets it; `backroom doctor` says more")
        # Without `backroom.connect`: a supervisor has no use for what opens PostgreSQL.
        client = open_client(given.redis_url, prefix=given.key_prefix, timeout=ANSWERS_WITHIN)
    except BackroomError as error:
        sys.stderr.write(f"the workers cannot start: {error}\n")
        return 2
    configure(given, door="supervisor")
    queues = Queues(client, prefix=given.key_prefix)

    def declare_dead(name: str, counted: bool) -> tuple[int, int]:  # noqa: FBT001 - a callback's
        return queues.declare_dead(name, counted=counted)

    asyncio.run(Supervisor(plan, lease=given.lease, declare_dead=declare_dead).run())
    return 0


def _options(given: Settings) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m workers",
        description=ABOUT,
        epilog=SIGNALS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def option(name: str, setting: str, metavar: str, help: str) -> None:
        field = Settings.model_fields[setting]
        least = next((int(limit.ge) for limit in field.metadata if hasattr(limit, "ge")), None)
        most = next((int(limit.le) for limit in field.metadata if hasattr(limit, "le")), None)
        options.add_argument(
            name,
            dest=setting,
            metavar=metavar,
            type=str if least is None else _number(least, most),
            default=getattr(given, setting),
            help=f"{help} ({setting.upper()}={getattr(given, setting)})",
        )

    option("--processes", "worker_processes", "N", "how many processes; one for each core if jobs compute")
    option("--threads", "worker_threads", "N", "how many jobs each of them runs at once; more if jobs wait for others")
    option("--queues", "worker_queues", "A,B", "work on these queues only; all of them if not given")
    option("--stop-within", "worker_stop_seconds", "SECONDS", "how long jobs may go on when everything stops")
    option(
        "--grace",
        "worker_grace_seconds",
        "SECONDS",
        "how far a job may run over its time limit, and how long a process may be silent, before stacks are shown; "
        "as long again, and the process is killed",
    )
    option("--recycle-after-jobs", "worker_recycle_jobs", "N", "replace a process after so many jobs; 0 for never")
    option("--recycle-above-memory", "worker_recycle_mib", "MIB", "replace one that is larger than this; 0 for never")
    return options


class _Wrong(argparse.ArgumentTypeError):
    """A number that is none, or too small or too large."""


def _number(least: int, most: int | None) -> Callable[[str], int]:
    def number(text: str) -> int:
        wanted = f"from {least}" + (f" to {most}" if most is not None else "")
        try:
            found = int(text)
        except ValueError:
            raise _Wrong(f"takes a number {wanted}, not {text!r}") from None
        if found < least or (most is not None and found > most):
            raise _Wrong(f"takes a number {wanted}, not {found}")
        return found

    return number


def _plan(chosen: argparse.Namespace) -> Plan:
    return Plan(
        processes=chosen.worker_processes,
        threads=chosen.worker_threads,
        queues=listed(chosen.worker_queues),
        stop_within=timedelta(seconds=chosen.worker_stop_seconds),
        grace=timedelta(seconds=chosen.worker_grace_seconds),
        recycle_jobs=chosen.worker_recycle_jobs,
        recycle_mib=chosen.worker_recycle_mib,
    )


def _check_queues(plan: Plan, given: Settings) -> None:
    if not plan.queues:
        return
    # Only where they are asked for: a supervisor lives long, and should be small.
    from backroom.shelf import Shelves  # noqa: PLC0415
    from backroom.words.near import unknown  # noqa: PLC0415

    known = {job.queue for job in Shelves(given.shelves).jobs.values()}
    for queue in plan.queues:
        if queue not in known:
            raise unknown("--queues", "queue", queue, known)


if __name__ == "__main__":
    sys.exit(main())
