"""Times and durations as people type them: `5m`, `1h30m`, `2026-11-24T10:00Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from backroom.domain.errors import Invalid

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d{1,9})(ms|[smhdw])")


def span(option: str, text: str) -> timedelta:
    """A duration.

    Raises:
        Invalid: It is none.
    """
    if text.strip() == "0":
        return timedelta(0)
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text.strip()):
        raise Invalid(option, "is not a duration", "such as 30s, 5m, 1h30m or 2d; 0 for none")
    try:
        return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text)))
    except OverflowError as error:
        raise Invalid(option, "is longer than anybody waits") from error


def moment(option: str, text: str, *, now: datetime) -> datetime:
    """A time, or how long ago it was.

    Raises:
        Invalid: It is neither.
    """
    try:
        if _PART.match(text.strip()):
            return now - span(option, text)
        found = datetime.fromisoformat(text.strip())
    except (Invalid, ValueError, OverflowError) as error:
        right = "how long ago, such as 1h, or a time, such as 2026-11-24T10:00Z"
        raise Invalid(option, "is not a time", right) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def spoken(duration: timedelta) -> str:
    """A duration in few letters: `1.5 s`, `12 min`, `3.0 h`."""
    seconds = duration.total_seconds()
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 86400:,.1f} d"
