"""Questions about notifications and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from backroom.store.rows import Delivery, Notification
from backroom.store.tables import deliveries, notifications

_NOTIFICATION = [notifications.c[name] for name in Notification.__dataclass_fields__]
_DELIVERY = [deliveries.c[name] for name in Delivery.__dataclass_fields__]


class NotificationQuestions:
    """See the module."""

    def __init__(self, connection: Connection, app: str) -> None:
        self._connection = connection
        self._app = app

    def one(self, notification: str) -> Notification | None:
        """A notification by id."""
        query = select(*_NOTIFICATION).where(notifications.c.app_id == self._app, notifications.c.id == notification)
        row = self._connection.execute(query).mappings().one_or_none()
        return Notification(**row) if row else None

    def page(self, *, before: str | None, limit: int) -> list[Notification]:
        """Newest first, from just below an id."""
        query = select(*_NOTIFICATION).where(notifications.c.app_id == self._app)
        if before is not None:
            query = query.where(notifications.c.id < before)
        query = query.order_by(notifications.c.id.desc()).limit(limit)
        return [Notification(**row) for row in self._connection.execute(query).mappings()]

    def deliveries(self, ids: Sequence[str]) -> list[Delivery]:
        """The deliveries of these notifications, oldest first."""
        query = (
            select(*_DELIVERY)
            .where(deliveries.c.app_id == self._app, deliveries.c.notification_id.in_(ids))
            .order_by(deliveries.c.notification_id, deliveries.c.created_at, deliveries.c.id)
        )
        return [Delivery(**row) for row in self._connection.execute(query).mappings()]

    def delivery(self, delivery: str) -> Delivery | None:
        """A delivery by id."""
        query = select(*_DELIVERY).where(deliveries.c.app_id == self._app, deliveries.c.id == delivery)
        row = self._connection.execute(query).mappings().one_or_none()
        return Delivery(**row) if row else None

    def forgotten_deliveries(self, *, before: datetime, limit: int) -> list[str]:
        """Deliveries that should have moved by now and have not: the ids, oldest first."""
        moved = deliveries.c.created_at
        query = (
            select(deliveries.c.id)
            .where(
                deliveries.c.app_id == self._app,
                deliveries.c.state.in_(("waiting", "sending", "retrying")),
                moved < before,
                (deliveries.c.claimed_at.is_(None)) | (deliveries.c.claimed_at < before),
                (deliveries.c.due_at.is_(None)) | (deliveries.c.due_at < before),
            )
            .order_by(moved)
            .limit(limit)
        )
        return list(self._connection.scalars(query))
