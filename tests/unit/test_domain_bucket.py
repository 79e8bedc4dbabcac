"""A leaky bucket overflows on a burst, and not on a trickle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backroom.domain.bucket import Bucket, drops_at, is_calm, pour

START = datetime(2026, 11, 23, tzinfo=UTC)
BUCKET = Bucket(capacity=5, leak=timedelta(seconds=10))
QUIET = timedelta(minutes=5)

gaps = st.lists(st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=8)), min_size=1, max_size=60)


def poured(gaps, bucket=BUCKET):
    level, now = None, START
    for gap in gaps:
        now += gap
        level = pour(level, bucket, at=now, quiet=QUIET)
    return level


def test_the_sixth_drop_of_a_burst_overflows_and_the_fifth_does_not():
    assert poured([timedelta(0)] * 5).overflowed_at is None
    assert poured([timedelta(0)] * 6).overflowed_at == START


def test_a_trickle_as_fast_as_the_leak_never_overflows():
    assert poured([timedelta(seconds=10)] * 500).overflowed_at is None


def test_a_trickle_faster_than_the_leak_overflows_in_the_end():
    assert poured([timedelta(seconds=9)] * 100).overflowed_at is not None


def test_a_bucket_that_overflowed_is_calm_only_when_it_is_empty_and_nothing_came_for_a_while():
    level = poured([timedelta(0)] * 6)

    assert not is_calm(level, BUCKET, now=START + QUIET - timedelta(seconds=1), quiet=QUIET)
    assert is_calm(level, BUCKET, now=START + QUIET, quiet=QUIET)
    slow = Bucket(capacity=10, leak=timedelta(minutes=1))
    assert not is_calm(poured([timedelta(0)] * 11, slow), slow, now=START + QUIET, quiet=QUIET)


def test_one_more_drop_after_it_was_calm_is_a_new_story():
    level = poured([*[timedelta(0)] * 9, QUIET])

    assert level.overflowed_at is None
    assert level.drops == 1


@given(gaps=gaps)
def test_a_bucket_never_holds_more_than_its_capacity_nor_less_than_nothing(gaps):
    level = poured(gaps)

    assert 0 < level.drops <= BUCKET.capacity
    for later in (timedelta(0), timedelta(seconds=7), timedelta(days=1)):
        assert 0 <= drops_at(level, BUCKET, now=level.at + later) <= level.drops


@given(gaps=gaps)
def test_a_bucket_that_does_not_hold_back_never_overflows(gaps):
    assert poured(gaps, Bucket(capacity=5, leak=timedelta(0))).overflowed_at is None
