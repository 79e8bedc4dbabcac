"""Write events as they come in, each once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import structlog

from backroom.domain.dwell import LONGEST_GAP
from backroom.domain.event import SIGN_INS, Event, may_merge
from backroom.domain.item import items_of, touches_of
from backroom.domain.job import AppMessage, job
from backroom.tools import Tools
from jobs.rule_check import CheckRule

log = structlog.get_logger()

# Somebody who tries passwords is looked at within seconds, and no oftener however many are tried.
LOOK = "login.suspicious"
LOOK_EVERY = timedelta(seconds=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordEvents(AppMessage, frozen=True, kw_only=True):
    """Events of one request, in the order the client gave them."""

    events: list[Event]


# The wait is what a gateway in front of a warehouse takes: nobody notices it, and a busy site fills the batch first.
@job("event.record", batch=500, linger=timedelta(milliseconds=20), time_limit=timedelta(minutes=3))
def record_events(messages: Sequence[RecordEvents], tools: Tools) -> None:
    """Write events, what they say about items, and who a visitor turned out to be."""
    events = {event.id: event for message in reversed(messages) for event in reversed(message.events)}
    fresh = tools.write.events.add(list(events.values()))
    new = [events[id] for id in fresh]
    linked = _link(new, tools)
    tools.write.events.describe([(event.at, item) for event in new for item in items_of(event)])
    tools.write.events.touch([(event, touch) for event in new for touch in touches_of(event)])
    # Last, because the mark on today is what other batches wait for until we commit.
    tools.write.events.mark_stale(_days(new) | tools.read.events.days_of(linked))
    if any(event.name in SIGN_INS for event in new):
        _look(tools)
    log.info("event.recorded", count=len(new), repeated=sum(len(message.events) for message in messages) - len(new))


def _link(events: Sequence[Event], tools: Tools) -> list[str]:
    """Join visitors to the users they say they are, and return those that were joined now."""
    wanted: dict[str, str] = {}
    for event in events:
        if event.kind in {"identify", "alias"} and event.user and may_merge(event.anonymous, user=event.user):
            wanted.setdefault(event.anonymous, event.user)
    if not wanted:
        return []
    linked = tools.write.events.link(wanted)
    if refused := len(wanted) - len(linked) - tools.read.events.count_linked(wanted, besides=linked):
        log.warning("identity.refused", count=refused)
    return linked


def _look(tools: Tools) -> None:
    """Have the sign-ins looked at when the running five seconds are over."""
    now = tools.now()
    slot, into = divmod(now - EPOCH, LOOK_EVERY)
    name = f"{LOOK}:{tools.app}:{slot}"
    tools.later(
        CheckRule(app=tools.app, rule=LOOK),
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        # At the end of the slot: what comes in until then is seen by this look.
        delay=LOOK_EVERY - into,
    )


def _days(events: Sequence[Event]) -> set[date]:
    # What is seen just after midnight also ends the time on a page that was seen just before.
    return {moment.date() for event in events for moment in (event.at, event.at - LONGEST_GAP)}
