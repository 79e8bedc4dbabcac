"""Write to those who looked around lately what else may please them, once a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import structlog

from backroom.domain.ids import dated_id
from backroom.domain.job import Message, job
from backroom.domain.recommendation import Recommendation, recommend
from backroom.store.rows_insights import Described
from backroom.tools import Tools
from jobs.notification_send import SendNotification

log = structlog.get_logger()

TYPE = "daily_digest"
LATELY = timedelta(days=7)
# What was shown and not looked at is not shown again for this long.
NOT_AGAIN = timedelta(days=14)
FEWEST, MOST = 3, 6
LONGEST_NAME = 120


class SendDigests(Message, frozen=True, kw_only=True):
    """A page of readers.

    Attributes:
        app: For which application; left out, for every one.
        day: Whose digest it is: today's, if left out. The pages of one run have one day, also after midnight.
        after: The last reader of the page before.
        limit: How many readers on a page.
    """

    app: str = ""
    day: date | None = None
    after: str = ""
    limit: int = 200


@job("digest.send", queue="quiet", every="0 8 * * *", time_limit=timedelta(minutes=5))
def send_digests(message: SendDigests, tools: Tools) -> None:
    """Send each reader what is similar to what they viewed or bought, and why."""
    day = message.day or tools.now().date()
    if not message.app:
        for mine in tools.each_app():
            mine.later(SendDigests(app=mine.app, day=day), id=_id(mine.app, day, "from the start"))
        return
    readers = tools.read.recommendations.readers(since=tools.now() - LATELY, after=message.after, limit=message.limit)
    sent = sum(_send(reader, day, tools) for reader in readers)
    if len(readers) == message.limit:
        rest = SendDigests(app=message.app, day=day, after=readers[-1], limit=message.limit)
        tools.later(rest, id=_id(message.app, day, f"after {readers[-1]}"))
    tools.answer(tools.message_id, {"status": 200, "body": {"readers": len(readers), "sent": sent}})
    log.info("digest.sent", app=tools.app, readers=len(readers), count=sent)


def _send(reader: str, day: date, tools: Tools) -> bool:
    # Not today's: a run that is repeated must come to the same digest.
    shown = tools.read.recommendations.shown(reader, since=day - NOT_AGAIN, before=day)
    facts = tools.read.recommendations.facts(reader, now=tools.now(), without=shown)
    chosen = [one for one in recommend(facts, now=tools.now(), limit=2 * MOST) if one.name][:MOST]
    if len(chosen) < FEWEST:
        return False
    known = tools.read.recommendations.described(
        {one.item for one in chosen} | {one.because for one in chosen if one.because}
    )
    tools.write.recommendations.show(reader, [one.item for one in chosen], on=day)
    tools.later(
        SendNotification(app=tools.app, type=TYPE, to=[reader], data=_data(chosen, known), accepted_at=tools.now()),
        # One a day for each reader, however often this runs.
        id=_id(tools.app, day, f"to {reader}"),
        once=timedelta(days=2),
    )
    return True


def _data(chosen: Sequence[Recommendation], known: dict[str, Described]) -> dict[str, Any]:
    reasons = [known[one.because].name for one in chosen if one.because in known]
    about = max(dict.fromkeys(reasons), key=reasons.count, default="")
    data: dict[str, Any] = {"items": [_item(one, known) for one in chosen]}
    return data | ({"about": about[:LONGEST_NAME]} if about else {})


def _item(chosen: Recommendation, known: dict[str, Described]) -> dict[str, Any]:
    item = known[chosen.item]
    because = known[chosen.because].name if chosen.because in known else ""
    told: dict[str, Any] = {
        "name": chosen.name[:LONGEST_NAME],
        "reason": {"kind": chosen.kind, "because": because[:LONGEST_NAME]},
    }
    if item.url:
        told["url"] = item.url
    if item.price is not None and item.currency and item.price <= 100_000_000:  # noqa: PLR2004 - the type's schema
        told |= {"price": item.price, "currency": item.currency}
    return told


def _id(app: str, day: date, what: str) -> str:
    # A notification's id is its place in the list of notifications.
    return dated_id(day, f"digest:{app}:{what}")
