"""How long a carrier asked us to wait, read from its answer's headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Less than this is no wait at all; more is a mistake in the answer, and would park the letter for good.
SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=1)


def asked_wait(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """The wait that `Retry-After` (seconds or a date) or else `X-RateLimit-Reset` (a Unix time) asks for.

    Args:
        headers: The answer's headers, in any spelling.
        now: The time.

    Returns:
        None where neither is there or readable.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    wait = _retry_after(lower.get("retry-after", ""), now)
    if wait is None:
        wait = _reset(lower.get("x-ratelimit-reset", ""), now)
    return None if wait is None else min(max(wait, SHORTEST), LONGEST)


def _retry_after(value: str, now: datetime) -> timedelta | None:
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:12]), LONGEST.total_seconds()))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


def _reset(value: str, now: datetime) -> timedelta | None:
    if not (value.isascii() and value.isdigit()):
        return None
    return timedelta(seconds=min(int(value[:12]) - now.timestamp(), LONGEST.total_seconds()))
