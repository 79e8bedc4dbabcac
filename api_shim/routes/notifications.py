"""Notifications: post one, and read what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import falcon
import falcon.asgi
import msgspec

from api_shim.asked import fingerprint, is_uuid, page_after, page_limit
from api_shim.caller import Caller, utc_now
from api_shim.contract import AFTER, IDEMPOTENCY_KEY, REPLAYED, WHERE, Answer, Moment, limit, speaks
from api_shim.door import GIVEN_UP, Door, allow, moment, new_id
from api_shim.problem import key_reused, not_found
from backroom.domain.delivery import FINAL
from backroom.domain.delivery import State as DeliveryState
from backroom.domain.errors import Invalid
from backroom.queue.wire import Once
from backroom.store import rows
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


class AcceptedNotification(msgspec.Struct):
    """A notification that is on the queue.

    Attributes:
        id: Its id.
        state: What becomes of it, `GET /v1/notifications/{id}` says.
        to: The readers, each once.
    """

    id: str
    state: Literal["accepted"]
    to: list[str]


class Delivery(msgspec.Struct):
    """A notification on its way to one reader over one channel.

    Attributes:
        id: Its id.
        user: The reader.
        channel: The medium.
        carrier: Who carries it.
        state: How far it is.
        attempts: How often it was tried.
        provider_id: What the carrier calls it.
        reason: Why it is in this state, where there is a reason.
        code: The carrier's code for the reason.
        locale: The language it was written in.
        next_attempt_at: When it is tried again, if it is.
        finished_at: When it came into its final state.
    """

    id: str
    user: str
    channel: str
    carrier: str
    state: DeliveryState
    attempts: int
    provider_id: str | None
    reason: str | None
    code: str | None
    locale: str | None
    next_attempt_at: Moment | None
    finished_at: Moment | None


class Notification(msgspec.Struct, omit_defaults=True):
    """A notification and what became of it.

    Attributes:
        id: Its id.
        type: The notification type.
        state: `accepted` on the queue, `underway`, `settled` once every delivery is in its final state, `failed` where
            it was given up before there were any.
        to: The readers.
        accepted_at: When it was posted.
        deliveries: One for each reader and channel.
        reason: Why it failed, if it did.
    """

    id: str
    type: str
    state: Literal["accepted", "underway", "settled", "failed"]
    to: list[str]
    accepted_at: Moment
    deliveries: list[Delivery]
    reason: str | None = None


class NotificationPage(msgspec.Struct):
    """Notifications, newest first.

    Attributes:
        notifications: This page's.
        next: The cursor of the page that follows; null on the last one.
    """

    notifications: list[Notification]
    next: str | None


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
    @speaks(
        takes=NotificationBody,
        asks=[IDEMPOTENCY_KEY],
        gives={202: Answer(about="It is on the queue.", body=AcceptedNotification, headers={**WHERE, **REPLAYED})},
    )
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
        resp.data = msgspec.json.encode(AcceptedNotification(id=posted.id, state="accepted", to=message.to))

    @allow("app")
    @speaks(asks=[limit(), AFTER], gives={200: Answer(about="The page.", body=NotificationPage)})
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The newest notifications with their deliveries, in pages."""
        before, most = page_after(req), page_limit(req)
        found, deliveries = await self._door.ask(
            req.context.caller,
            lambda read: (
                page := read.notifications.page(before=before, limit=most),
                read.notifications.deliveries([notification.id for notification in page]),
            ),
        )
        page = NotificationPage(
            notifications=[
                _shown(one, [delivery for delivery in deliveries if delivery.notification_id == one.id])
                for one in found
            ],
            next=found[-1].id if len(found) == most else None,
        )
        resp.data = msgspec.json.encode(page)

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
    @speaks(gives={200: Answer(about="How far it is.", body=Notification)})
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

    async def _from_memory(self, caller: Caller, notification: str) -> Notification | None:
        found, deliveries = await self._door.ask(
            caller,
            lambda read: (read.notifications.one(notification), read.notifications.deliveries([notification])),
        )
        return _shown(found, deliveries) if found else None

    async def _from_queue(self, caller: Caller, notification: str) -> Notification | None:
        found = await self._door.queued(notification, SendNotification)
        if found is None or found[1].app != caller.app:
            return None
        where, waiting = found
        dead = where == "dead"
        return Notification(
            id=notification,
            type=waiting.type,
            state="failed" if dead else "accepted",
            to=waiting.to,
            accepted_at=moment(waiting.accepted_at),
            deliveries=[],
            reason=GIVEN_UP if dead else None,
        )


def _shown(notification: rows.Notification, deliveries: list[rows.Delivery]) -> Notification:
    settled = {delivery.user_id for delivery in deliveries} >= set(notification.to_users) and all(
        delivery.state in FINAL for delivery in deliveries
    )
    return Notification(
        id=notification.id,
        type=notification.type,
        state="settled" if settled else "underway",
        to=notification.to_users,
        accepted_at=moment(notification.accepted_at),
        deliveries=[
            Delivery(
                id=delivery.id,
                user=delivery.user_id,
                channel=delivery.medium,
                carrier=delivery.carrier,
                state=delivery.state,
                attempts=delivery.attempts,
                provider_id=delivery.provider_id or None,
                reason=delivery.reason or None,
                code=delivery.code or None,
                locale=delivery.locale or None,
                next_attempt_at=moment(delivery.due_at),
                finished_at=moment(delivery.finished_at),
            )
            for delivery in deliveries
        ],
    )
