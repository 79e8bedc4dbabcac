"""Questions about notifications and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from backroom.store.rows import Delivery, Errand, Notification, User
from backroom.store.tables import apps, deliveries, notifications, suppressions, users

_NOTIFICATION = [notifications.c[name] for name in Notification.__dataclass_fields__]
_DELIVERY = [deliveries.c[name] for name in Delivery.__dataclass_fields__]
_USER = [users.c[name] for name in User.__dataclass_fields__]


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

    def errand(self, delivery: str) -> Errand | None:
        """Everything that one try of a delivery needs to know, in one question."""
        addresses = func.jsonb_each_text(users.c.contacts).table_valued("key", "value")
        suppressed = (
            select(func.array_agg(suppressions.c.address))
            .where(
                suppressions.c.app_id == self._app,
                suppressions.c.medium == deliveries.c.medium,
                suppressions.c.address.in_(select(addresses.c.value)),
            )
            .scalar_subquery()
        )
        columns = [
            column.label(f"{part}_{column.name}")
            for part, columns in (("d", _DELIVERY), ("n", _NOTIFICATION), ("u", _USER))
            for column in columns
        ]
        query = (
            select(*columns, suppressed.label("suppressed"), apps.c.name.label("app_name"))
            .join_from(deliveries, notifications, notifications.c.id == deliveries.c.notification_id)
            .join(apps, apps.c.id == deliveries.c.app_id)
            .outerjoin(users, (users.c.app_id == deliveries.c.app_id) & (users.c.id == deliveries.c.user_id))
            .where(deliveries.c.app_id == self._app, deliveries.c.id == delivery)
        )
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        return Errand(
            delivery=Delivery(**_part(row, "d", Delivery)),
            notification=Notification(**_part(row, "n", Notification)),
            reader=User(**_part(row, "u", User)) if row["u_id"] is not None else None,
            suppressed=frozenset(row["suppressed"] or ()),
            app_name=row["app_name"],
        )

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


def _part(row: RowMapping, part: str, kind: type[Any]) -> dict[str, Any]:
    return {name: row[f"{part}_{name}"] for name in kind.__dataclass_fields__}
