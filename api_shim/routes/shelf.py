"""What stands on the shelves: the notification types an application may post, over the channels there are."""

from __future__ import annotations

import falcon.asgi
import msgspec

from api_shim.door import Door, allow


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/types": Types(door), "/v1/channels": Channels(door)}


class Types:
    """The notification types."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each type with its meaning, its channels in order, the schema of its payload and an example."""
        resp.data = msgspec.json.encode(
            {
                "types": [
                    {
                        "name": kind.name,
                        "about": kind.about,
                        "category": kind.category,
                        "channels": kind.mediums,
                        "schema": kind.schema,
                        "example": kind.example,
                    }
                    for kind in self._door.words.types.values()
                    if kind.public
                ]
            }
        )


class Channels:
    """The carriers."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Each carrier on the shelf with its medium and its meaning."""
        resp.data = msgspec.json.encode(
            {
                "channels": [
                    {"name": file.name, "medium": file.channel.medium, "about": file.about}
                    for _, file in sorted(self._door.shelves.channels.items())
                ]
            }
        )
