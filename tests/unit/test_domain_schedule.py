"""When something is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.errors import Invalid
from backroom.domain.schedule import EPOCH, schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "now", "last", "following"),
    [
        ("* * * * *", "2026-11-23T10:00:30", "2026-11-23T10:00", "2026-11-23T10:01"),
        ("*/15 * * * *", "2026-11-23T10:14", "2026-11-23T10:00", "2026-11-23T10:15"),
        ("10 3 * * *", "2026-11-23T03:10", "2026-11-23T03:10", "2026-11-24T03:10"),
        ("0 8 * * *", "2026-12-31T09:00", "2026-12-31T08:00", "2027-01-01T08:00"),
        ("0 0 1 1 *", "2026-06-01T00:00", "2026-01-01T00:00", "2027-01-01T00:00"),
        ("0 0 29 2 *", "2026-06-01T00:00", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "1898-06-01T00:00", "1896-02-29T00:00", "1904-02-29T00:00"),
        ("30 6 * * mon-fri", "2026-11-21T00:00", "2026-11-20T06:30", "2026-11-23T06:30"),
        ("0 12 * * 0", "2026-11-23T00:00", "2026-11-22T12:00", "2026-11-29T12:00"),
        ("0 12 * * 7", "2026-11-23T00:00", "2026-11-22T12:00", "2026-11-29T12:00"),
        # Both days restricted: either is enough.
        ("0 0 13 * fri", "2026-11-23T00:00", "2026-11-20T00:00", "2026-11-27T00:00"),
        ("0 0 13 * fri", "2026-12-12T00:00", "2026-12-11T00:00", "2026-12-13T00:00"),
        ("5,35 9-17/4 * jan,jul *", "2026-03-01T00:00", "2026-01-31T17:35", "2026-07-01T09:05"),
        # Nights in which clocks on the wall go forward and back: in UTC every hour comes once.
        ("30 2 * * *", "2026-03-29T02:00", "2026-03-28T02:30", "2026-03-29T02:30"),
        ("30 2 * * *", "2026-10-25T02:45", "2026-10-25T02:30", "2026-10-26T02:30"),
    ],
)
def test_a_crontab_line_is_due_when_it_says(every: str, now: str, last: str, following: str):
    line = schedule(every)

    assert (line.last_before(at(now)), line.next_after(at(now))) == (at(last), at(following))


@pytest.mark.parametrize(
    "every",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
        "*/0 * * * *", "*/x * * * *", "a * * * *", "-1 * * * *", "1- * * * *", ", * * * *", "0 0 30 2 *",
        "\u0661 * * * *", "*/\u0661 * * * *",
        timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=10),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(every: str | timedelta):
    with pytest.raises(Invalid) as refused:
        schedule(every)

    assert refused.value.field == "/every"


def test_an_interval_counts_from_the_epoch_so_all_clocks_agree():
    seven = schedule(timedelta(minutes=7))
    now = at("2026-11-23T10:00:01")

    due = seven.last_before(now)

    assert (due - EPOCH) % timedelta(minutes=7) == timedelta(0)
    assert due <= now < seven.next_after(now)
    assert seven.next_after(due) == due + timedelta(minutes=7)
    assert seven.last_before(due) == due


@given(
    every=st.sampled_from(["* * * * *", "*/7 * * * *", "0 8 * * *", "1 1 1,15 * *", "0 0 13 * 5", "59 23 31 12 *"])
    | st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=40)),
    now=st.integers(min_value=0, max_value=4_000_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us)),
)
def test_no_due_time_lies_between_the_last_and_the_next(every: str | timedelta, now: datetime):
    plan = schedule(every)

    last, following = plan.last_before(now), plan.next_after(now)

    assert last <= now < following
    assert plan.next_after(last) == following
    assert plan.last_before(following) == following
    assert plan.last_before(following - timedelta(microseconds=1)) == last
