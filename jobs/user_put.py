"""Write a user's profile: name, contact points, locale and time zone."""

from __future__ import annotations

from typing import Any

import msgspec

from backroom.domain.job import AppMessage, job
from backroom.tools import Tools


class PutUser(AppMessage, frozen=True, kw_only=True):
    """A whole profile, as the application knows it now."""

    user: str
    name: str = ""
    locale: str = "en"
    time_zone: str = "UTC"
    contacts: dict[str, str] = msgspec.field(default_factory=dict)
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    administrator: bool = False


@job("user.put")
def put_user(message: PutUser, tools: Tools) -> None:
    """Create a user or replace the profile."""
    tools.write.users.put(
        message.user,
        profile={
            "name": message.name,
            "locale": message.locale,
            "time_zone": message.time_zone,
            "contacts": message.contacts,
            "attributes": message.attributes,
            "administrator": message.administrator,
        },
        written_by=tools.message_id,
    )
    tools.answer(tools.message_id, {"status": 200})
