"""How long things take here, and how long they are kept."""

from __future__ import annotations

from datetime import timedelta

from backroom.domain.backoff import Backoff

QUEUE = "soak"
# As long as the queue remembers any job; so what is kept has reached its full height after that time.
KEPT = timedelta(minutes=10)
NOT_KEPT = timedelta(0)
SECOND = timedelta(seconds=1)
SOON = Backoff(first=timedelta(milliseconds=200), longest=SECOND)
# In seconds.
STEP = 0.02
