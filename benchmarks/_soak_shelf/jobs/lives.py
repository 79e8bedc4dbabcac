"""Jobs whose life has something to it: a status, a failure, a wait, an end from outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from backroom.domain.errors import Permanent, Snooze, Unreachable
from backroom.domain.job import AppMessage, job
from backroom.domain.limits import Limit
from backroom.tools import Tools
from benchmarks._soak_shelf.jobs._spans import KEPT, NOT_KEPT, QUEUE, SECOND, SOON, STEP


class Note(AppMessage, frozen=True, kw_only=True):
    """Return something small, which is kept with the status."""

    n: int


class Flood(AppMessage, frozen=True, kw_only=True):
    """Leave no status."""

    n: int


class Fail(AppMessage, frozen=True, kw_only=True):
    """Fail, with this chance, in one of three ways."""

    n: int
    chance: float


class Later(AppMessage, frozen=True, kw_only=True):
    """Wait until it is due."""

    n: int


class Nap(AppMessage, frozen=True, kw_only=True):
    """Come again until it is time."""

    until: datetime


class Chain(AppMessage, frozen=True, kw_only=True):
    """Hand on."""

    n: int


class Ask(AppMessage, frozen=True, kw_only=True):
    """Have somebody wait for the outcome."""

    n: int


class Long(AppMessage, frozen=True, kw_only=True):
    """Say how far it is, and stop when it is asked to."""

    seconds: float


class Slow(AppMessage, frozen=True, kw_only=True):
    """Run into the time limit."""

    n: int


class Apart(AppMessage, frozen=True, kw_only=True):
    """Run in a process of its own, and come to nothing there now and then."""

    n: int


@job("soak.note", queue=QUEUE, kept=KEPT)
def note(message: Note, tools: Tools) -> dict[str, object]:
    """Be the usual job."""
    return {"n": message.n, "at": tools.now(), "said": "a result of some length, as jobs have it"}


@job("soak.flood", queue=QUEUE, priority="bulk", kept=NOT_KEPT)
def flood(_message: Flood, _tools: Tools) -> None:
    """Be one of many."""


@job("soak.fail", queue=QUEUE, attempts=3, backoff=SOON, kept=KEPT)
def fail(message: Fail, tools: Tools) -> None:
    """Fail again and again, or once and for all."""
    if tools.chance() < message.chance:
        raise (
            Unreachable("it is away", after=timedelta(milliseconds=300)),
            RuntimeError("it is broken"),
            Permanent("it will never be right"),
        )[message.n % 3]


@job("soak.later", queue="soak.later", kept=KEPT)
def later(_message: Later, _tools: Tools) -> None:
    """Be due."""


@job("soak.nap", queue=QUEUE, kept=KEPT)
def nap(message: Nap, _tools: Tools) -> None:
    """Not yet."""
    if datetime.now(UTC) < message.until:
        raise Snooze(SECOND)


@job("soak.chain", queue=QUEUE, kept=KEPT)
def chain(message: Chain, tools: Tools) -> None:
    """Ask for two more, one of them not at once."""
    tools.later(Flood(app=message.app, n=message.n), id=f"{tools.message_id}.flood", once=timedelta(minutes=1))
    tools.later(Later(app=message.app, n=message.n), delay=3 * SECOND)


@job("soak.ask", queue=QUEUE, priority="urgent", kept=KEPT)
def ask(message: Ask, tools: Tools) -> None:
    """Answer who waits at the door."""
    tools.answer(tools.message_id, {"status": 200, "body": {"n": message.n}})


@job("soak.long", queue="soak.long", time_limit=timedelta(seconds=30), kept=KEPT)
def long(message: Long, tools: Tools) -> None:
    """Tell and listen, many times a second."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < message.seconds:
        tools.progress(passed / message.seconds, f"after {passed:.2f} s")
        tools.breathe()
        time.sleep(STEP)
    tools.progress(1, "done")


@job("soak.slow", queue="soak.long", time_limit=SECOND, attempts=1, kept=KEPT)
def slow(_message: Slow, _tools: Tools) -> None:
    """Take longer than it may."""
    began = time.monotonic()
    while time.monotonic() - began < 30:  # noqa: PLR2004 - longer than anybody waits
        time.sleep(STEP)


# One at a time, so that it is the same process for the whole hour.
@job(
    "soak.apart",
    queue="soak.apart",
    isolated=True,
    limits=(Limit(name="soak.apart", concurrent=1),),
    attempts=2,
    backoff=SOON,
    kept=KEPT,
)
def apart(message: Apart, _tools: Tools) -> dict[str, int]:
    """Come back over the pipe, as a result or as an error."""
    if message.n % 5 == 0:
        raise ValueError("it is broken over there")
    return {"n": message.n}
