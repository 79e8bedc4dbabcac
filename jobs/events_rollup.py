"""Count again the days whose events have changed."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.tools import Tools

log = structlog.get_logger()


class RollUpEvents(Message, frozen=True, kw_only=True):
    """How many days of each application to count in one run; the others wait for the next."""

    days: int = 60


@job("events.rollup", queue="quiet", every="* * * * *", time_limit=timedelta(minutes=10))
def roll_up_events(message: RollUpEvents, tools: Tools) -> None:
    """Count searches, pages, views and purchases of the days that changed."""
    for mine in tools.each_app():
        stale = mine.read.insights.stale_days(limit=message.days)
        mine.commit()
        for day in stale:
            mine.write.insights.count_day(day)
            # A day is a transaction: what is counted is seen, and a stop loses one day's work at most.
            mine.commit()
        if stale:
            log.info("events.counted", app=mine.app, days=len(stale))
