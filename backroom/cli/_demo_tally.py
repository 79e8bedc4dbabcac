"""Adds up what the API says became of notifications."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# What the table shows, in this order; a state that is not final is `open`.
STATES = ("delivered", "sent", "refused", "failed", "unknown", "skipped", "open")
NEVER_TRIED = "skipped"
# The demo introduces every reader before it writes to them: for whom this is said, a letter was lost.
STRANGER = "unknown_user"


@dataclass
class Medium:
    """What became of the deliveries over one medium.

    Attributes:
        states: How many are in each state.
        retried: How many took more than one try.
        seconds: From 202 to the final state, for those that were tried.
        reasons: Why those that did not get through did not.
    """

    states: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    seconds: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float | None:
        """The time within which so many of them were done, or None where there are none."""
        return percentile(self.seconds, share)


@dataclass
class Tally:
    """What became of notifications, read from the API's own documents.

    Attributes:
        settled: How many have all their deliveries in a final state.
        strangers: How many deliveries were skipped because their reader was not known.
        mediums: What became of the deliveries, by medium.
        first_accepted: When the first one was accepted.
        last_finished: When the last delivery was done.
    """

    settled: int = 0
    strangers: int = 0
    mediums: dict[str, Medium] = field(default_factory=dict)
    first_accepted: datetime | None = None
    last_finished: datetime | None = None

    def add(self, notification: Mapping[str, Any]) -> None:
        """Take in one notification; each one once."""
        self.settled += notification["state"] == "settled"
        accepted = datetime.fromisoformat(notification["accepted_at"])
        self.first_accepted = min(accepted, self.first_accepted or accepted)
        for delivery in notification["deliveries"]:
            self._add(delivery, accepted)

    @property
    def deliveries(self) -> int:
        """How many deliveries there are in all."""
        return sum(medium.states.total() for medium in self.mediums.values())

    @property
    def took(self) -> float:
        """Seconds from the first 202 to the last final state."""
        if self.first_accepted is None or self.last_finished is None:
            return 0.0
        return (self.last_finished - self.first_accepted).total_seconds()

    def _add(self, delivery: Mapping[str, Any], accepted: datetime) -> None:
        medium = self.mediums.setdefault(delivery["channel"], Medium())
        state = delivery["state"] if delivery["state"] in STATES else "open"
        medium.states[state] += 1
        medium.retried += delivery["attempts"] > 1
        self.strangers += delivery["reason"] == STRANGER
        if delivery["reason"] and state not in {"delivered", "sent"}:
            medium.reasons[f"{state}: {delivery['reason']}"] += 1
        if delivery["finished_at"] and state not in {NEVER_TRIED, "open"}:
            finished = datetime.fromisoformat(delivery["finished_at"])
            self.last_finished = max(finished, self.last_finished or finished)
            medium.seconds.append((finished - accepted).total_seconds())


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed, or None where there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
