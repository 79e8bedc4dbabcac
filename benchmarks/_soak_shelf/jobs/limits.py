"""Jobs that do not simply run: another one stands for them, or a limit holds them back."""

from __future__ import annotations

import time
from datetime import timedelta

from backroom.domain.job import AppMessage, job
from backroom.domain.limits import Limit, Rate, Unique
from backroom.tools import Tools
from benchmarks._soak_shelf.jobs._spans import KEPT, NOT_KEPT, QUEUE, SECOND, STEP

ACCOUNT = Limit(name="soak.account", rate=Rate(10, per=SECOND))


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


@job("soak.only", queue=QUEUE, unique=Unique(by=("order",)), priority="urgent", kept=NOT_KEPT)
def only(_message: Only, _tools: Tools) -> None:
    """Last a moment, so that there is a second one to be turned away."""
    time.sleep(STEP)


@job("soak.window", queue=QUEUE, unique=Unique(by=("order",), period=timedelta(minutes=1)), kept=NOT_KEPT)
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
    kept=NOT_KEPT,
)
def partner(_message: Partner, _tools: Tools) -> None:
    """Hold its place among the two for a moment."""
    time.sleep(STEP)


@job(
    "soak.customer",
    queue="soak.limited",
    limits=(Limit(name="soak.customer", by=("customer",), rate=Rate(10, per=SECOND), concurrent=1),),
    kept=NOT_KEPT,
)
def customer(_message: Customer, _tools: Tools) -> None:
    """Leave a limit of its own."""


@job("soak.account", queue=QUEUE, kept=NOT_KEPT)
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
