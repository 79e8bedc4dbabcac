"""Forget what only served to write records once: old outcomes, and the versions of records deleted long ago."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.domain.record import OUTCOMES_KEPT, VERSIONS_KEPT
from backroom.tools import Tools

log = structlog.get_logger()

MOST_BATCHES = 200


class ForgetRecords(Message, frozen=True, kw_only=True):
    """How many rows to forget in one transaction."""

    batch: int = 1_000


@job("record.forget", queue="quiet", every="23 * * * *", time_limit=timedelta(minutes=10))
def forget_records(message: ForgetRecords, tools: Tools) -> None:
    """Forget outcomes of writes after a week, and versions of deleted records after a month."""
    for mine in tools.each_app():
        outcomes = versions = 0
        # Small batches keep locks short; what is left after the last one is for the next hour.
        for _ in range(MOST_BATCHES):
            found = mine.write.records.forget_outcomes(before=mine.now() - OUTCOMES_KEPT, limit=message.batch)
            deleted = mine.write.records.forget_deleted(before=mine.now() - VERSIONS_KEPT, limit=message.batch)
            mine.commit()
            outcomes, versions = outcomes + found, versions + deleted
            if found < message.batch and deleted < message.batch:
                break
        if outcomes or versions:
            log.info("record.forgotten", app=mine.app, outcomes=outcomes, versions=versions)
