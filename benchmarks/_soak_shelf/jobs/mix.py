"""One job for each thing that a queue has to remember and to forget again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from backroom.domain.backoff import Backoff
from backroom.domain.errors import Cancel, Partial, Permanent, Snooze, Unreachable
from backroom.domain.job import AppMessage, job
from backroom.domain.limits import Limit, Rate, Unique
from backroom.tools import Tools

QUEUE = "soak"
# As long as the queue remembers any job; so what is kept has reached its full height after that time.
KEPT = timedelta(minutes=10)
SOON = Backoff(first=timedelta(milliseconds=200), longest=timedelta(seconds=1))
SECOND = timedelta(seconds=1)
STEP = 0.02
ACCOUNT = Limit(name="soak.account", rate=Rate(10, per=SECOND))


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


class Only(AppMessage, frozen=True, kw_only=True):
    """Be the only one of its order."""

    order: str


class Window(AppMessage, frozen=True, kw_only=True):
    """Be the only one of its order for a while."""

    order: str


class Latest(AppMessage, frozen=True, kw_only=True):
    """Take the place of the one that waits."""

    order: str


class Partner(AppMessage, frozen=True, kw_only=True):
    """Count for a limit of the few."""

    partner: str


class Customer(AppMessage, frozen=True, kw_only=True):
    """Count for a limit of somebody who has never been seen before."""

    customer: str


class Account(AppMessage, frozen=True, kw_only=True):
    """Ask for a limit while it runs."""

    account: str


class Stale(AppMessage, frozen=True, kw_only=True):
    """Expire while it waits for its limit."""

    n: int


class Row(AppMessage, frozen=True, kw_only=True):
    """Travel in a batch, and perhaps spoil it or step out of it."""

    n: int
    spoils: bool = False
    leaves: bool = False


class Step(AppMessage, frozen=True, kw_only=True):
    """Keep its turn."""

    n: int


class Long(AppMessage, frozen=True, kw_only=True):
    """Say how far it is, and stop when it is asked to."""

    seconds: float


class Nap(AppMessage, frozen=True, kw_only=True):
    """Come again until it is time."""

    until: datetime


class Chain(AppMessage, frozen=True, kw_only=True):
    """Hand on."""

    n: int


class Ask(AppMessage, frozen=True, kw_only=True):
    """Have somebody wait for the outcome."""

    n: int


class Apart(AppMessage, frozen=True, kw_only=True):
    """Run in a process of its own, and come to nothing there now and then."""

    n: int


class Slow(AppMessage, frozen=True, kw_only=True):
    """Run into the time limit."""

    n: int


@job("soak.note", queue=QUEUE, kept=KEPT)
def note(message: Note, tools: Tools) -> dict[str, object]:
    """Be the usual job."""
    return {"n": message.n, "at": tools.now(), "said": "a result of some length, as jobs have it"}


@job("soak.flood", queue=QUEUE, priority="bulk", kept=timedelta(0))
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


@job("soak.only", queue=QUEUE, unique=Unique(by=("order",)), priority="urgent", kept=timedelta(0))
def only(_message: Only, _tools: Tools) -> None:
    """Last a moment, so that there is a second one to be turned away."""
    time.sleep(STEP)


@job("soak.window", queue=QUEUE, unique=Unique(by=("order",), period=timedelta(minutes=1)), kept=timedelta(0))
def window(_message: Window, _tools: Tools) -> None:
    """Leave a key that stands for a minute."""


@job("soak.latest", queue=QUEUE, unique=Unique(by=("order",), until="begun", replace=True), kept=KEPT)
def latest(_message: Latest, _tools: Tools) -> None:
    """Run once for all that came meanwhile."""


@job(
    "soak.partner",
    queue="soak.limited",
    limits=(
        Limit(name="soak.partner", by=("partner",), concurrent=2),
        Limit(name="soak.partner.rate", by=("partner",), rate=Rate(10, per=SECOND, burst=3)),
    ),
    kept=timedelta(0),
)
def partner(_message: Partner, _tools: Tools) -> None:
    """Hold its place among the two for a moment."""
    time.sleep(STEP)


@job(
    "soak.customer",
    queue="soak.limited",
    limits=(Limit(name="soak.customer", by=("customer",), rate=Rate(10, per=SECOND), concurrent=1),),
    kept=timedelta(0),
)
def customer(_message: Customer, _tools: Tools) -> None:
    """Leave a limit of its own."""


@job("soak.account", queue=QUEUE, kept=timedelta(0))
def account(message: Account, tools: Tools) -> None:
    """Come back when there is room."""
    tools.within(ACCOUNT, message.account)


@job(
    "soak.stale",
    queue="soak.limited",
    limits=(Limit(name="soak.stale", rate=Rate(1, per=timedelta(seconds=30))),),
    expires=timedelta(seconds=5),
    kept=KEPT,
)
def stale(_message: Stale, _tools: Tools) -> None:
    """Run, if it is not too late."""


@job("soak.row", batch=50, linger=timedelta(milliseconds=200), attempts=2, backoff=SOON, kept=timedelta(0))
def row(messages: Sequence[Row], _tools: Tools) -> None:
    """Do a batch, or what of it can be done."""
    if any(one.spoils for one in messages):
        raise ValueError("one of them cannot be read")
    if leaving := {at: Cancel("not wanted") for at, one in enumerate(messages) if one.leaves}:
        raise Partial(leaving)


@job("soak.step", batch=20, ordered=True, kept=timedelta(0))
def step(_messages: Sequence[Step], _tools: Tools) -> None:
    """Do the next ones."""


@job("soak.long", queue="soak.long", time_limit=timedelta(seconds=30), kept=KEPT)
def long(message: Long, tools: Tools) -> None:
    """Tell and listen, many times a second."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < message.seconds:
        tools.progress(passed / message.seconds, f"after {passed:.2f} s")
        tools.breathe()
        time.sleep(STEP)
    tools.progress(1, "done")


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


@job("soak.slow", queue="soak.long", time_limit=SECOND, attempts=1, kept=KEPT)
def slow(_message: Slow, _tools: Tools) -> None:
    """Take longer than it may."""
    began = time.monotonic()
    while time.monotonic() - began < 30:  # noqa: PLR2004 - longer than anybody waits
        time.sleep(STEP)
