"""Find out what goes together: what the same people viewed, and what they bought."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backroom.domain.job import Message, job
from backroom.tools import Tools

log = structlog.get_logger()

LATELY = timedelta(days=90)
POPULAR = timedelta(days=30)


class PairItems(Message, frozen=True, kw_only=True):
    """For which application; left out, for every one."""

    app: str = ""


@job("items.pair", queue="quiet", every="*/15 * * * *", time_limit=timedelta(minutes=10))
def pair_items(message: PairItems, tools: Tools) -> None:
    """Find out which items are viewed and bought together, and which are popular."""
    if not message.app:
        # A message for each, so that a large shop does not make the others wait.
        for mine in tools.each_app():
            mine.later(PairItems(app=mine.app))
        return
    pairs = 0
    for kind in ("viewed", "bought"):
        pairs += tools.write.recommendations.pair(kind, since=tools.now() - LATELY)
        tools.commit()
    tools.write.recommendations.count_people(since=tools.now() - POPULAR)
    tools.answer(tools.message_id, {"status": 200, "body": {"pairs": pairs}})
    log.info("items.paired", app=tools.app, pairs=pairs)
