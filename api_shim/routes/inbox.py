"""The inbox that a website shows its user."""

from __future__ import annotations

import falcon.asgi
import msgspec

from api_shim.asked import checked_id, is_uuid, page_after, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.contract import AFTER, PREFER, Answer, Moment, accepts, limit, speaks
from api_shim.door import Door, allow, moment
from api_shim.problem import not_found
from backroom.store import rows
from jobs.inbox_read import ReadInboxItem


class InboxItem(msgspec.Struct):
    """A notification as a website shows it.

    Attributes:
        id: Its id.
        notification: Which notification it came from.
        type: The notification type.
        title: Its first line.
        body: What it says.
        link: Where it leads, if anywhere.
        created_at: When it came.
        read_at: When it was read, if it was.
    """

    id: str
    notification: str
    type: str
    title: str
    body: str
    link: str | None
    created_at: Moment
    read_at: Moment | None


class InboxPage(msgspec.Struct):
    """Items, newest first.

    Attributes:
        items: This page's.
        unread: How many there are that were not read, on all pages.
        next: The cursor of the page that follows; null on the last one.
    """

    items: list[InboxItem]
    unread: int
    next: str | None


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {"/v1/users/{user}/inbox": Inbox(door), "/v1/users/{user}/inbox/{item}/read": ReadItem(door)}


class Inbox:
    """One user's inbox."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(asks=[limit(), AFTER], gives={200: Answer(about="The page.", body=InboxPage)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str) -> None:
        """The items, newest first, in pages; every page says how many are unread."""
        caller: Caller = req.context.caller
        caller.must_be(user)
        checked_id(user, field="/user")
        before, most = page_after(req), page_limit(req)
        items, unread = await self._door.ask(
            caller, lambda read: (read.inbox.page(user, before=before, limit=most), read.inbox.unread(user))
        )
        page = InboxPage(
            items=[_shown(item) for item in items], unread=unread, next=items[-1].id if len(items) == most else None
        )
        resp.data = msgspec.json.encode(page)


class ReadItem:
    """Whether one item has been read."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app", "user")
    @speaks(asks=[PREFER], gives=accepts())
    async def on_put(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, user: str, item: str) -> None:
        """Mark the item as read; again changes nothing."""
        caller: Caller = req.context.caller
        caller.must_be(user)
        checked_id(user, field="/user")
        if not is_uuid(item) or not await self._door.ask(caller, lambda read: read.inbox.exists(user, item)):
            raise not_found()
        message = ReadInboxItem(app=caller.app, user=user, item=item, at=utc_now())
        await self._door.hand_on(req, resp, message, location=f"/v1/users/{user}/inbox")


def _shown(item: rows.InboxItem) -> InboxItem:
    return InboxItem(
        id=item.id,
        notification=item.notification_id,
        type=item.type,
        title=item.title,
        body=item.body,
        link=item.link or None,
        created_at=moment(item.created_at),
        read_at=moment(item.read_at),
    )
