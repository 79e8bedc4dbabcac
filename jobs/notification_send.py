"""Turn one notification into its deliveries: a row and a job for each reader and medium."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from backroom.domain.errors import Invalid
from backroom.domain.job import AppMessage, job
from backroom.domain.notification import NotificationType, Planned, letters_for
from backroom.store.rows import User
from backroom.tools import Tools
from jobs.delivery_attempt import AttemptDelivery

# The front door knows its readers, but a profile may have been accepted just before and be written right now by the
# thread beside this one. Whoever is not there at the second look is nobody.
SECOND_LOOK = timedelta(seconds=3)


class SendNotification(AppMessage, frozen=True, kw_only=True):
    """What to tell, and to whom. The message's id is the notification's.

    Attributes:
        type: A folder on the templates shelf.
        to: Ids of the readers in the application.
        data: The payload, which fits the type's schema.
        accepted_at: When the front door took it.
        mediums: Only over these; empty for all that the type names.
        notification: For a second look at readers who were not there: the notification's id.
    """

    type: str
    to: list[str]
    data: dict[str, Any]
    accepted_at: datetime
    mediums: tuple[str, ...] = ()
    notification: str = ""


@job("notification.send")
def send_notification(message: SendNotification, tools: Tools) -> None:
    """Write a delivery for each reader and medium, and hand each one on."""
    notification = tools.words.types.get(message.type)
    if notification is None:
        raise Invalid("/type", f"there is no notification type {message.type!r}")
    id = message.notification or tools.message_id
    readers = {user.id: user for user in tools.read.users.many(message.to)}
    to = list(dict.fromkeys(message.to))
    if not message.notification and (missing := [user for user in to if user not in readers]):
        tools.later(msgspec.structs.replace(message, to=missing, notification=id), delay=SECOND_LOOK)
        to = [user for user in to if user in readers]
    tools.write.notifications.add(
        {
            "id": id,
            "type": message.type,
            "data": message.data,
            "to_users": message.to,
            "accepted_at": message.accepted_at,
        }
    )
    tools.write.notifications.add_deliveries(
        [
            {"id": tools.new_id(), "notification_id": id, **row}
            for user in to
            for row in _rows(user, readers.get(user), notification, message.mediums, tools)
        ]
    )
    # Not only those just added: an earlier run of this job may have been killed between its commit and its hand-on.
    # A delivery's message has the delivery's id, so handing it on twice is handing it on once.
    for delivery in tools.read.notifications.deliveries([id]):
        if delivery.state == "waiting":
            tools.later(AttemptDelivery(app=message.app, delivery=delivery.id), id=delivery.id)


def _rows(
    user: str, reader: User | None, notification: NotificationType, mediums: Sequence[str], tools: Tools
) -> Iterator[dict[str, Any]]:
    carriers = {medium: channel.contact for medium, channel in tools.channels.items()}
    contacts = reader.contacts if reader else {}
    for letter in letters_for(notification, user=user, contacts=contacts, carriers=carriers, only=mediums):
        row = {"user_id": user, "medium": letter.medium}
        if reader is None:
            yield {**row, "state": "skipped", "reason": "unknown_user", "finished_at": tools.now()}
        elif isinstance(letter, Planned):
            yield {**row, "state": "waiting", "reason": "", "finished_at": None}
        else:
            yield {**row, "state": "skipped", "reason": letter.reason, "finished_at": tools.now()}
