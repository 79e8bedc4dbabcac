"""What stands on the shelves: the notification types an application may post, over the channels there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon.asgi
import msgspec

from api_shim.contract import Answer, speaks
from api_shim.door import Door, allow


class NotificationType(msgspec.Struct):
    """A notification that may be posted.

    Attributes:
        name: What `type` says.
        about: What it tells.
        category: What readers may have less of.
        channels: Its mediums, in order.
        schema: What its `data` must be (JSON Schema 2020-12).
        example: Such a payload.
    """

    name: str
    about: str
    category: str
    channels: list[str]
    schema: Mapping[str, Any]
    example: Mapping[str, Any]


class NotificationTypes(msgspec.Struct):
    """All notification types.

    Attributes:
        types: Those that applications may post.
    """

    types: list[NotificationType]


class Carrier(msgspec.Struct):
    """Somebody who carries letters.

    Attributes:
        name: Its file on the shelf.
        medium: What it carries.
        about: What it is.
    """

    name: str
    medium: str
    about: str


class Carriers(msgspec.Struct):
    """All carriers.

    Attributes:
        channels: By their names.
    """

    channels: list[Carrier]


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/types": Types(door), "/v1/channels": Channels(door)}


class Types:
    """The notification types."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(gives={200: Answer(about="The types.", body=NotificationTypes)})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each type with its meaning, its channels in order, the schema of its payload and an example."""
        types = [
            NotificationType(
                name=kind.name,
                about=kind.about,
                category=kind.category,
                channels=list(kind.mediums),
                schema=kind.schema,
                example=kind.example,
            )
            for kind in self._door.words.types.values()
            if kind.public
        ]
        resp.data = msgspec.json.encode(NotificationTypes(types=types))


class Channels:
    """The carriers."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    @speaks(gives={200: Answer(about="The carriers.", body=Carriers)})
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each carrier on the shelf with its medium and its meaning."""
        channels = [
            Carrier(name=file.name, medium=file.channel.medium, about=file.about)
            for _, file in sorted(self._door.shelves.channels.items())
        ]
        resp.data = msgspec.json.encode(Carriers(channels=channels))
