"""How much is to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _silence(_what: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the caller asked for.

    Attributes:
        quick: Whether small figures soon are better than good ones later.
        rounds: How often every side has its turn at most.
        rounds_end: When all rounds should be over, by the monotonic clock; the first one is never cut short.
        tell: Hears what is going on, for whoever waits.
    """

    quick: bool
    rounds: int
    rounds_end: float
    tell: Callable[[str], None] = _silence
