"""Figures: what was measured in each round, their median and their spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One quantity of one side.

    Attributes:
        name: What was measured.
        side: Whose it is.
        unit: `jobs/s`, `ms`, `times`.
        values: One for each round, in their order.
    """

    name: str
    side: str
    unit: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what has no median."""
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"{self.name} of {self.side}: {self.values} cannot be a figure")

    @property
    def median(self) -> float:
        """What half of the rounds did not exceed."""
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        """Of all rounds. There are too few of them for anything finer than the whole spread."""
        return min(self.values)

    @property
    def highest(self) -> float:
        """Of all rounds."""
        return max(self.values)


def figure(name: str, *, side: str, unit: str, values: Iterable[float]) -> Figure:
    """A figure of one value for each round."""
    return Figure(name=name, side=side, unit=unit, values=tuple(values))


def ratio(name: str, of: Figure, to: Figure) -> Figure:
    """How many times the one is the other, round by round: both halves of a pair met the same weather."""
    if len(of.values) != len(to.values):
        raise ValueError(f"{name}: {len(of.values)} rounds cannot be paired with {len(to.values)}")
    return Figure(
        name=name,
        side=f"{of.side} / {to.side}",
        unit="times",
        values=tuple(mine / theirs for mine, theirs in zip(of.values, to.values, strict=True)),
    )


def waits(name: str, *, side: str, rounds: Sequence[Sequence[float]], unit: str = "ms") -> tuple[Figure, Figure]:
    """The p50 of each round, and one p99 over all of them: a single round has too few values for it."""
    everything = [value for crowd in rounds for value in crowd]
    return (
        figure(f"{name}, p50", side=side, unit=unit, values=(quantile(crowd, 0.5) for crowd in rounds)),
        figure(f"{name}, p99 of {len(everything)}", side=side, unit=unit, values=[quantile(everything, 0.99)]),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed (nearest rank: always one that was measured)."""
    if not values or not 0 < share <= 1:
        raise ValueError(f"no quantile {share} of {len(values)} values")
    return sorted(values)[math.ceil(share * len(values)) - 1]
