"""What the memory answers with about what many people did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleDay:
    """A day whose counts no longer agree with its events, since a moment."""

    day: date
    marked_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What was counted about one query, page or item over some days.

    Attributes:
        about: The query, the page's path or the item's id.
        name: The item's name, where it is one and has one.
        count: How often.
        people: By how many, each counted once a day.
        seconds: Spent, over those views whose time is known.
        timed: How many views those are.
        amount: Paid.
        also: How often a second thing was counted with it.
    """

    about: str
    name: str
    count: int
    people: int
    seconds: float
    timed: int
    amount: float
    also: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What is known about an item; empty or None where it is not."""

    name: str
    price: float | None
    currency: str
    url: str
