"""How long a carrier asked us to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backroom.domain.retry_after import LONGEST, SHORTEST, asked_wait

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "30"}, timedelta(seconds=30)),
        ({"retry-after": " 30 "}, timedelta(seconds=30)),
        ({"Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT"}, timedelta(minutes=1)),
        ({"Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT"}, SHORTEST),
        ({"Retry-After": "0"}, SHORTEST),
        ({"Retry-After": "99999999999999999999"}, LONGEST),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, timedelta(seconds=90)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 90)}, SHORTEST),
        ({"Retry-After": "5", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, timedelta(seconds=5)),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_every_form_and_kept_within_reason(headers: dict[str, str], wait: timedelta | None) -> None:
    assert asked_wait(headers, now=NOW) == wait
