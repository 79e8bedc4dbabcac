"""Ids of a day: the same for the same thing, and in their place among the ids of other days."""

import uuid
from datetime import UTC, date, datetime, timedelta

import uuid_utils

from backroom.domain.ids import dated_id

DAY = date(2026, 11, 24)


def test_the_same_day_and_words_give_the_same_id_and_any_other_another():
    asked = [(DAY, "to ann"), (DAY, "to bob"), (DAY + timedelta(days=1), "to ann")]

    assert [dated_id(*one) for one in asked] == [dated_id(*one) for one in asked]
    assert len({dated_id(*one) for one in asked}) == len(asked)


def test_it_is_a_uuid_of_the_seventh_version_at_the_days_beginning():
    made = uuid.UUID(dated_id(DAY, "to ann"))

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert datetime.fromtimestamp((made.int >> 80) / 1000, UTC) == datetime(2026, 11, 24, tzinfo=UTC)


def test_what_is_made_today_stands_above_every_id_of_earlier_days_and_of_this_morning():
    now = str(uuid_utils.uuid7())

    assert all(dated_id(datetime.now(UTC).date(), f"to reader {n}") < now for n in range(1_000))
