"""Remember that a user has read an item of the inbox."""

from __future__ import annotations

from datetime import datetime

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools


class ReadInboxItem(AppMessage, frozen=True, kw_only=True):
    """Which item, whose, and when it was read."""

    user: str
    item: str
    at: datetime


@job("inbox.read")
def read_inbox_item(message: ReadInboxItem, tools: Tools) -> None:
    """Mark an inbox item as read."""
    tools.write.inbox.mark_read(message.user, message.item, at=message.at)
    tools.answer(tools.message_id, {"status": 200})
