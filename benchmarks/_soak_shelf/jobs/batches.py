"""Jobs that take many messages at once, in any order and in theirs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from backroom.domain.errors import Cancel, Partial
from backroom.domain.job import AppMessage, job
from backroom.tools import Tools
from benchmarks._soak_shelf.jobs._spans import NOT_KEPT, SOON


class Row(AppMessage, frozen=True, kw_only=True):
    """Travel in a batch, and perhaps spoil it or step out of it."""

    n: int
    spoils: bool = False
    leaves: bool = False


class Step(AppMessage, frozen=True, kw_only=True):
    """Keep its turn."""

    n: int


@job("soak.row", batch=50, linger=timedelta(milliseconds=200), attempts=2, backoff=SOON, kept=NOT_KEPT)
def row(messages: Sequence[Row], _tools: Tools) -> None:
    """Do a batch, or what of it can be done."""
    if any(one.spoils for one in messages):
        raise ValueError("one of them cannot be read")
    if leaving := {at: Cancel("not wanted") for at, one in enumerate(messages) if one.leaves}:
        raise Partial(leaving)


@job("soak.step", batch=20, ordered=True, kept=NOT_KEPT)
def step(_messages: Sequence[Step], _tools: Tools) -> None:
    """Do the next ones."""
