"""A leaky bucket: how much has come lately, without remembering each drop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """How large a bucket is and how fast it leaks.

    Attributes:
        capacity: How many drops it holds.
        leak: How long one drop takes to leak out.
    """

    capacity: float
    leak: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How full a bucket was at a moment.

    Attributes:
        drops: What was in it; never more than the capacity.
        at: The moment of the last drop.
        overflowed_at: The last drop that did not fit, since the bucket was last calm; None if every one did.
    """

    drops: float
    at: datetime
    overflowed_at: datetime | None = None


def pour(level: Level | None, bucket: Bucket, *, at: datetime, quiet: timedelta) -> Level:
    """One more drop.

    Args:
        level: The level after the drop before; None for an empty bucket that never overflowed.
        bucket: Which bucket.
        at: When; never before the drop before.
        quiet: How long after a drop the bucket is calm, if it is empty by then.
    """
    overflowed_at = None if level is None or is_calm(level, bucket, now=at, quiet=quiet) else level.overflowed_at
    drops = (drops_at(level, bucket, now=at) if level else 0.0) + 1
    if drops > bucket.capacity:
        drops, overflowed_at = bucket.capacity, at
    return Level(drops=drops, at=at, overflowed_at=overflowed_at)


def drops_at(level: Level, bucket: Bucket, *, now: datetime) -> float:
    """What is left in the bucket."""
    if bucket.leak <= timedelta(0):
        return 0.0
    return max(0.0, level.drops - (now - level.at) / bucket.leak)


def is_calm(level: Level, bucket: Bucket, *, now: datetime, quiet: timedelta) -> bool:
    """Whether the bucket is empty, and has had no drop for a while."""
    return drops_at(level, bucket, now=now) == 0 and now - level.at >= quiet
