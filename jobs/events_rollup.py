"""Count again the days whose events have changed."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.tools import Tools

log = structlog.get_logger()


class RollUpEvents(Message, frozen=True, kw_only=True):
    """What to count.

    Attributes:
        app: For which application; left out, for every one.
        days: How many days of an application to count in one run; the others wait for the next.
    """

    app: str = ""
    days: int = 60


# Few attempts: the clock asks again within a minute.
@job("events.rollup", queue="quiet", every="* * * * *", attempts=2, time_limit=timedelta(minutes=10))
def roll_up_events(message: RollUpEvents, tools: Tools) -> None:
    """Count searches, pages, views and purchases of the days that changed."""
    if message.app:
        days = _count(message, tools)
        tools.answer(tools.message_id, {"status": 200, "body": {"days": days}})
        return
    # A message for each, so that one application's bad day does not keep the others from being counted.
    for mine in tools.each_app():
        if mine.read.insights.stale_days(limit=1):
            mine.later(RollUpEvents(app=mine.app, days=message.days))


def _count(message: RollUpEvents, tools: Tools) -> int:
    stale = tools.read.insights.stale_days(limit=message.days)
    # What was recorded up to here is seen by the counting; what comes later moves its day's mark.
    tools.commit()
    for day in stale:
        tools.write.insights.count_day(day)
        # A day is a transaction: what is counted is seen, and a stop loses one day's work at most.
        tools.commit()
    if stale:
        log.info("events.counted", app=tools.app, days=len(stale))
    return len(stale)
