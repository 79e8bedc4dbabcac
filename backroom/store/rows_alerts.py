"""What the memory answers with about alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """Something that was found to be wrong: one row from the finding to the end of it.

    Attributes:
        id: UUIDv7 as text.
        rule: Which rule found it; with `about` its identity while it is open.
        about: What it is about.
        severity: `info`, `warning` or `critical`.
        state: `pending` while its hold lasts, then `firing`, then `resolved`.
        says: The last sentence about it.
        evidence: Small plain values that support it.
        found_at: When the finding began to stand.
        seen_at: When it was last seen.
        fired_at: When it fired.
        resolved_at: When it was fine again.
        acknowledged_at: When somebody took it on.
        acknowledged_by: Who.
        told: The administrators who were told that it fired; empty if there was none.
        fired_notice: The notification that told them.
        resolved_notice: The notification that told them that it was fine again.
    """

    id: str
    rule: str
    about: str
    severity: str
    state: Literal["pending", "firing", "resolved"]
    says: str
    evidence: dict[str, Any]
    found_at: datetime
    seen_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    told: list[str]
    fired_notice: str | None
    resolved_notice: str | None
