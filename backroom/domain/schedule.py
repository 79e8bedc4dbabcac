"""When something is due: pure arithmetic over crontab lines and intervals, in UTC.

UTC has no summer time, so no due time is skipped or doubled at night; a schedule has no time zone of its own yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backroom.domain.errors import Invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# The 29th of February comes every fourth year, and once after eight.
FURTHEST = timedelta(days=366 * 9)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, kw_only=True, slots=True)
class Crontab:
    """A crontab line: minutes, hours, days of the month, months, days of the week (0 is Sunday).

    Attributes:
        minutes: Those that it names; the other fields likewise.
        either_day: Whether both fields for days are restricted: then, as crontab has always done it, one is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def next_after(self, moment: datetime) -> datetime:
        """The first due time after a moment."""
        minute = moment.replace(second=0, microsecond=0)
        return self._search(minute + MINUTE, step=MINUTE, limit=minute + FURTHEST)

    def last_before(self, moment: datetime) -> datetime:
        """The last due time at or before a moment."""
        minute = moment.replace(second=0, microsecond=0)
        return self._search(minute, step=-MINUTE, limit=minute - FURTHEST)

    def _search(self, at: datetime, *, step: timedelta, limit: datetime) -> datetime:
        while (at < limit) == (step > timedelta(0)):
            if not self._on_day(at):
                at = _outside(at.replace(hour=0, minute=0), DAY, step=step)
            elif at.hour not in self.hours:
                at = _outside(at.replace(minute=0), HOUR, step=step)
            elif at.minute not in self.minutes:
                at += step
            else:
                return at
        raise Invalid("/every", "is never due", "a day that exists")

    def _on_day(self, at: datetime) -> bool:
        in_month, in_week = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return at.month in self.months and ((in_month or in_week) if self.either_day else (in_month and in_week))


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Every so often, counted from the epoch, so that every clock comes to the same times."""

    every: timedelta

    def next_after(self, moment: datetime) -> datetime:
        """The first due time after a moment."""
        return self.last_before(moment) + self.every

    def last_before(self, moment: datetime) -> datetime:
        """The last due time at or before a moment."""
        return moment - (moment - EPOCH) % self.every


Schedule = Crontab | Interval


def schedule(every: str | timedelta) -> Schedule:
    """Read what a job or a rule says about when it is due.

    Raises:
        Invalid: It is neither a crontab line with five fields nor an interval of a second or more.
    """
    if isinstance(every, timedelta):
        if every < SHORTEST:
            raise Invalid("/every", "is too often", "a second or more")
        return Interval(every=every)
    fields = every.split()
    if len(fields) != 5:  # noqa: PLR2004 - see Crontab
        raise Invalid("/every", f"has {len(fields)} fields", "five: minute, hour, day, month, day of the week")
    minutes, hours, days, months, weekdays = fields
    found = Crontab(
        minutes=_field(minutes, 0, 59),
        hours=_field(hours, 0, 23),
        days=_field(days, 1, 31),
        months=_field(months, 1, 12, names=_MONTHS),
        weekdays=frozenset(day % 7 for day in _field(weekdays, 0, 7, names=_WEEKDAYS)),
        either_day=not days.startswith("*") and not weekdays.startswith("*"),
    )
    # A line such as `0 0 30 2 *` reads well and is never due: better said now than never.
    found.next_after(EPOCH)
    return found


def _field(text: str, low: int, high: int, *, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, names, low)
            end = _number(last, names, low) if dash else high if slash else start
        every = int(step) if step.isascii() and step.isdecimal() else 0 if slash else 1
        if not (low <= start <= end <= high and every):
            raise Invalid("/every", f"does not take {part!r}", f"{low} to {high}, as in {low}, {low}-{high} or */2")
        found.update(range(start, end + 1, every))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], low: int) -> int:
    if text.lower() in names:
        # Months count from one, days of the week from zero.
        return names.index(text.lower()) + low
    return int(text) if text.isascii() and text.isdecimal() else -1


def _outside(start: datetime, length: timedelta, *, step: timedelta) -> datetime:
    """The nearest minute outside a day or an hour, in the direction of the search."""
    return start + length if step > timedelta(0) else start - MINUTE
