"""Notifications: post one, and read what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import fingerprint, is_uuid, page_after, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.door import GIVEN_UP, Door, allow, moment, new_id
from api_shim.problem import key_reused, not_found
from backroom.domain.delivery import FINAL
from backroom.domain.errors import Invalid
from backroom.queue.wire import Once
from backroom.store.rows import Delivery, Notification
from backroom.words.near import unknown
from jobs.notification_send import SendNotification

MOST_READERS = 1_000

UserId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NotificationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What an application asks to be told.

    Attributes:
        type: A notification type.
        to: The readers' ids in the application.
        data: The payload that the type's schema describes.
        idempotency_key: The same key and body again is the same notification. The header of that name does the same.
        channels: Only over these mediums; all that the type names if left out.
    """

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    to: Annotated[list[UserId], msgspec.Meta(min_length=1, max_length=MOST_READERS)]
    data: dict[str, Any] = {}
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    channels: Annotated[list[str], msgspec.Meta(max_length=20)] = []


def routes(door: Door) -> dict[str, object]:
    """URI templates and their resources."""
    return {
        "/v1/notifications": Notifications(door),
        "/v1/notifications/{notification}": OneNotification(door),
    }


class Notifications:
    """The applications' notifications."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Accept a notification: 202, its id, and where to read what becomes of it."""
        caller: Caller = req.context.caller
        body = await self._door.body(req, NotificationBody)
        self._check(body)
        await self._check_readers(caller, body.to)

        key = body.idempotency_key or req.get_header("Idempotency-Key")
        if key is not None and not 1 <= len(key) <= 255:  # noqa: PLR2004 - as in the body
            raise Invalid("/idempotency_key", "is empty or too long", "1 to 255 characters")
        message = SendNotification(
            app=caller.app,
            type=body.type,
            to=list(dict.fromkeys(body.to)),
            data=body.data,
            accepted_at=utc_now(),
            mediums=tuple(body.channels),
        )
        name = f"{caller.app}:notification:{fingerprint(key)}"
        said = fingerprint([body.type, body.to, body.data, body.channels])
        once = Once(key=name, window=self._door.once, fingerprint=said) if key else None
        (posted,) = await self._door.sender.send([self._door.post(message, id=new_id(), once=once)])
        if posted.conflict:
            raise key_reused(field="/idempotency_key")
        if not posted.fresh:
            resp.set_header("Idempotent-Replayed", "true")
        resp.status = falcon.HTTP_202
        resp.set_header("Location", f"/v1/notifications/{posted.id}")
        resp.data = msgspec.json.encode({"id": posted.id, "state": "accepted", "to": message.to})

    @allow("app")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The newest notifications with their deliveries, in pages."""
        before, limit = page_after(req), page_limit(req)
        found, deliveries = await self._door.ask(
            req.context.caller,
            lambda read: (
                page := read.notifications.page(before=before, limit=limit),
                read.notifications.deliveries([notification.id for notification in page]),
            ),
        )
        resp.data = msgspec.json.encode(
            {
                "notifications": [
                    _shown(one, [delivery for delivery in deliveries if delivery.notification_id == one.id])
                    for one in found
                ],
                "next": found[-1].id if len(found) == limit else None,
            }
        )

    def _check(self, body: NotificationBody) -> None:
        types = self._door.words.types
        offered = {name: kind for name, kind in types.items() if kind.public}
        if body.type not in offered:
            raise unknown("/type", "notification type", body.type, offered)
        for index, medium in enumerate(body.channels):
            if medium not in types[body.type].mediums:
                raise unknown(
                    f"/channels/{index}", "channel of this notification type", medium, types[body.type].mediums
                )
        self._door.words.check(body.type, body.data)

    async def _check_readers(self, caller: Caller, to: list[str]) -> None:
        missing = await self._door.unknown_users(caller, to)
        if missing:
            close = await self._door.ask(caller, lambda read: read.users.ids_like(missing[0]))
            raise unknown(f"/to/{to.index(missing[0])}", "user", missing[0], close)


class OneNotification:
    """One notification."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @allow("app")
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, notification: str) -> None:
        """The notification and its deliveries: state, attempts, the carrier's id, and why."""
        if not is_uuid(notification):
            raise not_found()
        caller: Caller = req.context.caller
        shown = await self._from_memory(caller, notification) or await self._from_queue(caller, notification)
        # Between the two questions it may have gone from the queue to the memory.
        shown = shown or await self._from_memory(caller, notification)
        if shown is None:
            raise not_found()
        resp.data = msgspec.json.encode(shown)

    async def _from_memory(self, caller: Caller, notification: str) -> dict[str, Any] | None:
        found, deliveries = await self._door.ask(
            caller,
            lambda read: (read.notifications.one(notification), read.notifications.deliveries([notification])),
        )
        return _shown(found, deliveries) if found else None

    async def _from_queue(self, caller: Caller, notification: str) -> dict[str, Any] | None:
        found = await self._door.queued(notification, SendNotification)
        if found is None or found[1].app != caller.app:
            return None
        where, waiting = found
        shown: dict[str, Any] = {
            "id": notification,
            "type": waiting.type,
            "state": "accepted",
            "to": waiting.to,
            "accepted_at": moment(waiting.accepted_at),
            "deliveries": [],
        }
        return shown | {"state": "failed", "reason": GIVEN_UP} if where == "dead" else shown


def _shown(notification: Notification, deliveries: list[Delivery]) -> dict[str, Any]:
    settled = {delivery.user_id for delivery in deliveries} >= set(notification.to_users) and all(
        delivery.state in FINAL for delivery in deliveries
    )
    return {
        "id": notification.id,
        "type": notification.type,
        "state": "settled" if settled else "underway",
        "to": notification.to_users,
        "accepted_at": moment(notification.accepted_at),
        "deliveries": [
            {
                "id": delivery.id,
                "user": delivery.user_id,
                "channel": delivery.medium,
                "carrier": delivery.carrier,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "provider_id": delivery.provider_id or None,
                "reason": delivery.reason or None,
                "code": delivery.code or None,
                "locale": delivery.locale or None,
                "next_attempt_at": moment(delivery.due_at),
                "finished_at": moment(delivery.finished_at),
            }
            for delivery in deliveries
        ],
    }
