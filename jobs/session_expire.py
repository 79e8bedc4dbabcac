"""End sessions that are over, and forget those that ended long ago."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.domain.session import ENDED_KEPT, SWEPT_AFTER
from backroom.tools import Tools

log = structlog.get_logger()

MOST_BATCHES = 200


class ExpireSessions(Message, frozen=True, kw_only=True):
    """How many sessions to end, or to forget, in one transaction."""

    batch: int = 1_000


@job("session.expire", queue="quiet", every="17 * * * *", time_limit=timedelta(minutes=10))
def expire_sessions(message: ExpireSessions, tools: Tools) -> None:
    """End sessions that nobody has used for too long, and forget them a month later."""
    for mine in tools.each_app():
        ended = forgotten = 0
        # Small batches keep locks short; what is left after the last one is for the next hour.
        for _ in range(MOST_BATCHES):
            now = mine.now()
            over = mine.write.sessions.end_lapsed(before=now - SWEPT_AFTER, at=now, limit=message.batch)
            old = mine.write.sessions.forget_ended(before=now - ENDED_KEPT, limit=message.batch)
            mine.commit()
            ended, forgotten = ended + over, forgotten + old
            if over < message.batch and old < message.batch:
                break
        if ended or forgotten:
            log.info("session.expired", app=mine.app, ended=ended, forgotten=forgotten)
