"""Gives every side its turns, mixed, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.frame.plan import Plan

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side(Generic[T]):
    """One of those that are compared.

    Attributes:
        name: As the table shows it.
        turn: Measures once, from a clean start to a clean end.
    """

    name: str
    turn: Callable[[], T]


def take_turns(
    sides: Sequence[Side[T]], plan: Plan, *, clock: Callable[[], float] = time.monotonic
) -> dict[str, list[T]]:
    """What every side measured, round by round.

    The order is turned round after every round, so that nobody always comes first. A round begins only if one as long
    as the longest so far still fits the plan; so every side has the same number of turns.
    """
    results: dict[str, list[T]] = {side.name: [] for side in sides}
    longest = 0.0
    for number in range(plan.rounds):
        began = clock()
        if number and began + longest > plan.rounds_end:
            break
        for side in sides if number % 2 == 0 else reversed(sides):
            plan.tell(f"round {number + 1} of {plan.rounds}, {side.name}")
            results[side.name].append(side.turn())
        longest = max(longest, clock() - began)
    return results
