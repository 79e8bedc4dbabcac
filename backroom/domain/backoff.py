"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter.

    Attributes:
        first: The wait after the first failure, before jitter.
        longest: No wait is longer than this, before jitter.
        jitter: The share of the wait that is random, 0 to 1, so that what failed together does not return together.
    """

    first: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(hours=1)
    jitter: float = 0.2

    def wait(self, attempt: int, *, chance: float) -> timedelta:
        """The wait after a failed attempt.

        Args:
            attempt: Which attempt failed; 1 is the first.
            chance: A random number in [0, 1).
        """
        # Past 2**32 the longest wait has long been reached, and a float would overflow.
        grown = self.first * 2 ** min(attempt - 1, 32) if self.first < self.longest else self.longest
        return min(grown, self.longest) * (1 - self.jitter * chance)
