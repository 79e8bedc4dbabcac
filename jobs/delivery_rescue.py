"""Find deliveries whose message was lost, and hand them on again."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.tools import Tools
from jobs.delivery_attempt import AttemptDelivery

log = structlog.get_logger()

# Longer than a delivery's own time limit and the queue's memory of finished messages: whoever is older than this
# and has not moved has probably no message any more (the queue was lost, or a worker died between commit and hand-on).
# Where there still is one, waiting in a long queue or among the dead, the same id again does nothing.
FORGOTTEN_AFTER = timedelta(minutes=15)


class RescueDeliveries(Message, frozen=True, kw_only=True):
    """How many deliveries of an application to rescue at once."""

    limit: int = 1_000


@job("delivery.rescue", queue="quiet", every="* * * * *", time_limit=timedelta(minutes=5))
def rescue_deliveries(message: RescueDeliveries, tools: Tools) -> None:
    """Hand on deliveries that were forgotten between a row and its message."""
    for mine in tools.each_app():
        found = mine.read.notifications.forgotten_deliveries(before=mine.now() - FORGOTTEN_AFTER, limit=message.limit)
        for delivery in found:
            mine.later(AttemptDelivery(app=mine.app, delivery=delivery), id=delivery)
        if found:
            log.warning("delivery.rescued", app=mine.app, count=len(found))
