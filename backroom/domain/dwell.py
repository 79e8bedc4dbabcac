"""How long people stay on a page, told with how much of it is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# Whoever looks at nothing else for this long has left; how long the last page was looked at is then not known.
LONGEST_GAP = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dwell:
    """Time on a page.

    Attributes:
        mean_seconds: Over the views whose time is known; None where none is. Unknown is never counted as zero.
        coverage: The share of views whose time is known.
    """

    mean_seconds: float | None
    coverage: float


def dwell(*, seconds: float, timed: int, views: int) -> Dwell:
    """Sum up many views.

    Args:
        seconds: Of all views whose time is known.
        timed: How many those are.
        views: How many there are in all.
    """
    return Dwell(
        mean_seconds=round(seconds / timed, 1) if timed else None, coverage=round(timed / views, 3) if views else 0.0
    )
